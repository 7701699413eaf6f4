"""A mixture of experts in the place of a decoder's MLP: a router sends each token to two of several small MLPs, and a
loss keeps the experts' shares even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from helpers.transformer.gpt import GatedMLP
from helpers.transformer.language_models import WINDOW, Shape, byte_ids, windows

EXPERTS, CHOSEN, BALANCE = 8, 2, 0.01  # experts of a layer; those that compute a token; weight of the balance loss
BYTE_KINDS = ("vowel", "consonant", "first letter of a word", "blank", "new line", "sign or digit")


@dataclass(frozen=True)
class Routing:
    """Where a batch's N tokens went.

    Attributes:
        probabilities: (N, E) softmax of the router's logits; chosen: (N, K) the experts of each token, best first.
    """

    probabilities: torch.Tensor
    chosen: torch.Tensor

    def shares(self) -> torch.Tensor:
        """(E,) the share of all choices that fell on each expert."""
        return one_hot(self.chosen, self.probabilities.shape[1]).float().mean((0, 1))


class MixtureOfExperts(nn.Module):
    """Each token's output is the weighted sum of what its chosen experts compute.

    Args:
        width: of the states; hidden: units of one expert; experts: how many there are; chosen: how many compute each
            token.
    Attributes:
        routing: of the latest batch.
    Raises:
        ValueError: more experts are to be chosen than there are, or none.
    Source: Shazeer et al. 2017, eq. 1 to 5 without noise; the weights of the chosen ones add up to 1 as in Jiang et al.
        2024, section 2.1.
    """

    def __init__(self, width: int, hidden: int, experts: int = EXPERTS, chosen: int = CHOSEN):
        super().__init__()
        if not 1 <= chosen <= experts:
            raise ValueError(f"chosen: {chosen} of {experts} experts; choose at least one, and no more than there are")
        self.chosen, self.routing = chosen, None
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(GatedMLP(width, hidden) for _ in range(experts))

    def forward(self, states):
        """(B, T, d) to (B, T, d)."""
        tokens = states.flatten(0, 1)
        probabilities = self.router(tokens).softmax(-1)
        weights, chosen = probabilities.topk(self.chosen, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        self.routing = Routing(probabilities, chosen)
        order = chosen.flatten().argsort()  # all choices, those of one expert together
        owners = order // self.chosen
        counts = torch.bincount(chosen.flatten(), minlength=len(self.experts)).tolist()
        parts = zip(self.experts, tokens[owners].split(counts))
        found = torch.cat([expert(part) for expert, part in parts]) * weights.flatten()[order, None]
        return torch.zeros_like(tokens).index_add(0, owners, found).view_as(states)


def expert_mlp(shape: Shape) -> MixtureOfExperts:
    """A mixture whose chosen experts together are as large as the shape's dense MLP: equal computing for each token."""
    return MixtureOfExperts(shape.width, shape.hidden // CHOSEN)


def balance_loss(routing: Routing, counted: torch.Tensor | None = None) -> torch.Tensor:
    """E · Σ f·P over the experts: 1 where all are used alike, near E where one takes everything.

    Args:
        counted: (N,) bool, False on padding; without it all tokens count.
    Source: Fedus et al. 2021, eq. 4 to 6; f is the share of all K choices, so that its scale is the same for any K.
    """
    if counted is not None:
        routing = Routing(routing.probabilities[counted], routing.chosen[counted])
    return routing.probabilities.shape[1] * (routing.shares() * routing.probabilities.mean(0)).sum()


def mixtures(model: nn.Module) -> list[MixtureOfExperts]:
    """The mixtures of a model, from its first block to its last; none in a dense one."""
    return [module for module in model.modules() if isinstance(module, MixtureOfExperts)]


def parameters_used(model: nn.Module) -> int:
    """How many of a model's parameters compute one token: all but those of the experts that are not chosen."""
    unused = sum(
        sum(weight.numel() for expert in mixture.experts[mixture.chosen :] for weight in expert.parameters())
        for mixture in mixtures(model)
    )
    return sum(weight.numel() for weight in model.parameters()) - unused


def balance_penalty(model: nn.Module, weight: float = BALANCE) -> torch.Tensor:
    """The balance losses of a model's latest batch, all layers added, times their weight (Fedus et al. 2021, eq. 4)."""
    return weight * sum(balance_loss(mixture.routing) for mixture in mixtures(model))


def byte_kinds(ids: torch.Tensor) -> torch.Tensor:
    """The place in `BYTE_KINDS` of each of the bytes (N,) of a text."""
    letters, blank, line = (
        torch.tensor([chr(byte).isascii() and chr(byte).isalpha() for byte in ids.tolist()]),
        ids == ord(" "),
        ids == ord("\n"),
    )
    begins = letters & ~torch.cat([torch.tensor([False]), letters[:-1]])
    vowels = letters & torch.isin(ids, byte_ids("aeiouyAEIOUY"))
    found = torch.full_like(ids, BYTE_KINDS.index("sign or digit"))
    for kind, places in zip(BYTE_KINDS, (vowels & ~begins, letters & ~vowels & ~begins, begins, blank, line)):
        found[places] = BYTE_KINDS.index(kind)
    return found


@torch.inference_mode()
def expert_counts(model: nn.Module, texts: Sequence[str]) -> np.ndarray:
    """(N, L, kinds, E) how many bytes of each text and kind each layer sends to each expert; K experts take a byte."""
    layers = mixtures(model)
    found = np.zeros((len(texts), len(layers), len(BYTE_KINDS), len(layers[0].experts)), dtype=int)
    for number, text in enumerate(texts):
        rows = windows(text, WINDOW)
        model(rows.clamp(min=0))
        kinds = byte_kinds(byte_ids(text)).numpy()[:, None]
        for layer, mixture in enumerate(layers):
            np.add.at(found[number, layer], (kinds, mixture.routing.chosen[rows.flatten() >= 0].numpy()), 1)
    return found


def expert_shares(counts: np.ndarray, chosen: int = CHOSEN) -> np.ndarray:
    """(N, L, E) the share of each text's bytes that an expert computes; all alike, each computes K/E of them.

    Args:
        counts: as `expert_counts` gives them; chosen: K.
    """
    taken = counts.sum(2)
    return taken * chosen / taken.sum(-1, keepdims=True)
