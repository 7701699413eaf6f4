"""Sensitivity: what a model loses when one part of it alone is changed, in nats a token of the reference summaries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from helpers.compression.quantized_models import linear_layers
from helpers.evaluation.losses import pair_losses
from helpers.evaluation.statistics import Interval, paired_difference
from helpers.progress import progress

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


def sensitivity(model, tokenizer, pairs, variants: Mapping[str, Callable]) -> dict[str, Interval]:
    """Name -> loss in nats a token above the model's own, with its interval over pairs.

    Args:
        variants: name -> function that makes the changed model; one exists at a time.
    """
    before = pair_losses(model, tokenizer, pairs)
    return {
        name: paired_difference(pair_losses(make(), tokenizer, pairs), before)
        for name, make in progress(variants.items(), total=len(variants), desc="one part at a time", unit="part")
    }
