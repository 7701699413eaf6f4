"""Losses: what a model loses on each pair of a prompt and its completion, in nats a token."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from helpers.data.pairs import IGNORED, Collator
from helpers.models.generation import completion_positions, evaluating, positions


@torch.no_grad()
def pair_losses(model, tokenizer, pairs, batch_size: int = 50) -> np.ndarray:
    """(N,) the mean cross-entropy in nats of each pair's completion, token by token with the reference before it.

    Raises:
        ValueError: a prompt or a completion that is longer than the model has positions for.
    """
    _check_lengths(model.config, pairs)
    order = sorted(range(len(pairs)), key=lambda row: len(pairs[row]["input_ids"]))
    endless = positions(model.config) == completion_positions(model.config) == float("inf")
    # Rounding up to a multiple of 8 could exceed the positions.
    losses, collate = np.zeros(len(pairs)), Collator(tokenizer.pad_token_id, multiple=8 if endless else 1)
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = {name: tensor.to(model.device) for name, tensor in collate([pairs[row] for row in chosen]).items()}
            logits = model(**batch).logits.float()  # (B, T, V)
            each = cross_entropy(logits.transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none")
            losses[chosen] = (each.sum(1) / (batch["labels"] != IGNORED).sum(1)).cpu().numpy()
    return losses


def _check_lengths(config, pairs):
    for name, most in (("input_ids", positions(config)), ("labels", completion_positions(config))):
        for index in range(len(pairs) if most < float("inf") else 0):
            if (found := len(pairs[index][name])) > most:
                raise ValueError(
                    f"pairs[{index}], {name}: {found} tokens, and this model has positions for {most}; leave the pair "
                    "out, or choose a model with a longer window"
                )
