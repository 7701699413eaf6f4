"""Three families of transformers made of the same blocks: what each may see, and what it learns to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import T5Config, T5ForConditionalGeneration

from helpers.transformer.objectives import FAMILIES, Example, batched, example_of, excerpt
from helpers.data.pairs import IGNORED
from helpers.transformer.positions import bucket, first_attention
from helpers.progress import progress

BEHIND, AHEAD = bucket(-1), bucket(1)
QUERY_RATE, EMBEDDING_RATE = 0.15, 3.0      # times the learning rate: T5's attention is unscaled, so that queries learn gently


@dataclass(frozen=True)
class Shape:
    """Sizes of a small model; an encoder-decoder has half of the blocks on each side and narrower feed-forward layers, so that all families are equally large."""
    width: int = 128
    heads: int = 4
    blocks: int = 4
    hidden: int = 512

    def config(self, family: str, vocab_size: int) -> T5Config:
        """The T5 configuration whose blocks the family is built of."""
        blocks, hidden = self.blocks, self.hidden
        if family == "encoder-decoder":     # cross-attention costs 4·width² in half of the blocks, as much as width hidden units in all of them
            blocks, hidden = self.blocks // 2, self.hidden - self.width
        return T5Config(vocab_size=vocab_size, d_model=self.width, d_kv=self.width // self.heads, num_heads=self.heads, d_ff=hidden, num_layers=blocks,
                        num_decoder_layers=blocks, feed_forward_proj="relu", dropout_rate=0.0, pad_token_id=0, decoder_start_token_id=0)


class FamilyModel(nn.Module):
    """One of `FAMILIES`, untrained: T5's blocks with embeddings that are the output head as well.

    Args:
        family: which; vocab_size: tokens; shape: sizes; seed: of the first weights.
    Raises:
        ValueError: there is no such family.
    """

    def __init__(self, family: str, vocab_size: int, shape: Shape | None = None, seed: int = 0):
        super().__init__()
        if family not in FAMILIES:
            raise ValueError(f"family: {family!r} is not one of {', '.join(FAMILIES)}")
        self.family, self.shape = family, shape or Shape()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            whole = T5ForConditionalGeneration._from_config(self.shape.config(family, vocab_size), attn_implementation="sdpa")
        self.shared = whole.shared
        with torch.no_grad():
            self.shared.weight.mul_(0.5)
        self.encoder = None if family == "decoder-only" else whole.encoder
        self.decoder = None if family == "encoder-only" else whole.decoder
        if family == "decoder-only":
            for block in self.decoder.block:      # there is no encoder to look at
                del block.layer[1]
        for stack, near in ((self.encoder, (BEHIND, AHEAD)), (self.decoder, (BEHIND, BEHIND + 1))):
            if stack is not None:
                _look_near(stack, near)

    def states(self, input_ids, attention_mask):
        """(B, S, width) of the stack that reads the text: the decoder where there is nothing else."""
        return (self.encoder or self.decoder)(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state

    def forward(self, input_ids, attention_mask, decoder_input_ids=None):
        """(B, T, width) the states that predict: of the decoder's inputs in an encoder-decoder, of the text in the others."""
        states = self.states(input_ids, attention_mask)
        if self.family != "encoder-decoder":
            return states
        return self.decoder(input_ids=decoder_input_ids, encoder_hidden_states=states, encoder_attention_mask=attention_mask, use_cache=False).last_hidden_state

    def logits(self, states):
        """(…, V) of states; scaled as T5 scales where head and embeddings are one."""
        return states * self.shape.width**-0.5 @ self.shared.weight.T


@torch.no_grad()
def _look_near(stack, places):
    """Lets the first two heads of all blocks begin with a look at a neighbour; from nothing a small model takes most of its training to find that."""
    for head, place in enumerate(places):
        first_attention(stack).relative_attention_bias.weight[place, head] += 4.0


def label_losses(model: FamilyModel, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Of each example the loss of each of its labels in nats, those that the loss looks away from left out."""
    inputs, labels = batched(examples, model.shared.weight.device)
    counts = (labels != IGNORED).sum(1).tolist()
    states = model(**inputs)[labels != IGNORED]
    return list(cross_entropy(model.logits(states), labels[labels != IGNORED], reduction="none").split(counts))


def parameter_groups(model: nn.Module, rate: float) -> list[dict]:
    """AdamW's groups: queries gently, embeddings and position biases faster, the rest at `rate`."""
    groups = {QUERY_RATE: [], EMBEDDING_RATE: [], 1.0: []}
    for name, weight in model.named_parameters():
        groups[QUERY_RATE if name.endswith(".q.weight") else EMBEDDING_RATE if "shared" in name or "relative" in name else 1.0].append(weight)
    return [{"params": weights, "lr": rate * scale, "initial": rate * scale} for scale, weights in groups.items()]


def pretrain(model: FamilyModel, texts: Sequence[Sequence[int]], sentinels: Sequence[int], *, steps: int, length: int, seed: int, batch_size: int = 32,
             learning_rate: float = 2e-3, show_progress: bool = True) -> list[float]:
    """Trains the model on its family's task; every family reads the same excerpts in the same order.

    Args:
        texts: lists of token ids; each step takes `batch_size` excerpts of at most `length` tokens.
    Returns:
        The loss of each step, in nats a label.
    """
    excerpts, hidden, losses = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]), []
    optimizer = torch.optim.AdamW(parameter_groups(model, learning_rate), betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    for step in progress(range(steps), desc=model.family, unit="step", disable=not show_progress):
        warm, left = min(1.0, (step + 1) / max(1, steps // 20)), 1 - step / steps
        for group in optimizer.param_groups:
            group["lr"] = group["initial"] * min(warm, max(0.02, left))
        chosen = [excerpt(texts[number], length, excerpts) for number in excerpts.integers(0, len(texts), batch_size)]
        loss = torch.cat(label_losses(model, [example_of(model.family, ids, hidden, sentinels) for ids in chosen])).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def sight(model: FamilyModel, ids: Sequence[int], other: int) -> np.ndarray:
    """(T, S) whether the state at a place changes when the token at another one does: what each place sees, measured.

    Columns are the places of the text; of an encoder-decoder, which is given the text on both sides, the encoder's and then the decoder's.

    Args:
        other: a token that is put in the place of each in turn; none of `ids` should be it.
    """
    two = model.family == "encoder-decoder"

    def states(place=None):
        both = list(ids) * (1 + two)
        if place is not None:
            both[place] = other
        inputs = {"input_ids": torch.tensor([both[:len(ids)]]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        return model(**inputs, **({"decoder_input_ids": torch.tensor([both[len(ids):]])} if two else {}))[0]
    before = states()
    return np.stack([((states(place) - before).abs().amax(-1) > 1e-6).numpy() for place in range(len(ids) * (1 + two))], axis=1)
