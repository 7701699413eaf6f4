"""Sensitivity: what a model loses when one part of it alone is changed, in nats a token of the reference summaries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from helpers.models.generation import evaluating
from helpers.data.pairs import IGNORED, Collator
from helpers.progress import progress
from helpers.compression.quantized_models import linear_layers
from helpers.evaluation.statistics import Interval, paired_difference

ATTENTIONS = {"SelfAttention": "self-attention", "EncDecAttention": "cross-attention", "DenseReluDense": "feed-forward"}


def part_of(name: str) -> str:
    """What kind of layer a name means: "decoder.block.1.layer.2.DenseReluDense.wo" is "decoder feed-forward wo"."""
    stack, place, kind = name.split(".")[0], name.split(".")[-2], name.split(".")[-1]
    return f"{stack} {ATTENTIONS.get(place, place)} {kind}"


def layer_kinds(model) -> dict[str, list[str]]:
    """Kind of layer -> names of its layers in all blocks, in the model's order; the head is left out."""
    kinds: dict[str, list[str]] = {}
    for name in linear_layers(model):
        kinds.setdefault(part_of(re.sub(r"^base_model\.model\.", "", name)), []).append(name)
    return kinds


@torch.no_grad()
def pair_losses(model, tokenizer, pairs, batch_size: int = 50) -> np.ndarray:
    """(N,) the mean cross-entropy in nats of each pair's completion, token by token with the reference before it."""
    order = sorted(range(len(pairs)), key=lambda row: len(pairs[row]["input_ids"]))
    losses, collate = np.zeros(len(pairs)), Collator(tokenizer.pad_token_id)
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            chosen = order[start:start + batch_size]
            batch = {name: tensor.to(model.device) for name, tensor in collate([pairs[row] for row in chosen]).items()}
            logits = model(**batch).logits.float()      # (B, T, V)
            each = cross_entropy(logits.transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none")
            losses[chosen] = (each.sum(1) / (batch["labels"] != IGNORED).sum(1)).cpu().numpy()
    return losses


def sensitivity(model, tokenizer, pairs, variants: Mapping[str, Callable]) -> dict[str, Interval]:
    """Name -> loss in nats a token above the model's own, with its interval over pairs.

    Args:
        variants: name -> function that makes the changed model; one exists at a time.
    """
    before = pair_losses(model, tokenizer, pairs)
    return {name: paired_difference(pair_losses(make(), tokenizer, pairs), before)
            for name, make in progress(variants.items(), total=len(variants), desc="one part at a time", unit="part")}
