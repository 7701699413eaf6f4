"""Sizes: how many parameters a model has, and where they lie."""

from __future__ import annotations

from typing import NamedTuple

COMPONENTS = ("embeddings", "encoder", "decoder", "head", "other")


class ParameterCount(NamedTuple):
    """Trainable and all parameters of a model; shared ones count once."""
    trainable: int
    total: int

    def __str__(self):
        return f"{self.trainable:,} of {self.total:,} parameters trainable ({self.trainable / max(self.total, 1):.2%})"


def count_parameters(model) -> ParameterCount:
    """Trainable and all parameters; shared ones count once."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return ParameterCount(sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes))


def _component(name):
    parts = name.split(".")
    if {"shared", "embed_tokens", "embed_positions"} & set(parts):
        return "embeddings"
    places = {"encoder": "encoder", "decoder": "decoder", "lm_head": "head"}
    return next((places[part] for part in parts if part in places), "other")


def parameter_table(model) -> list[dict]:
    """Parameters by component, one row each: component, parameters, trainable, share of all; shared ones count once.

    A tied head has no parameters of its own: its row says 0. "other" appears only where there is something in it.
    """
    counts = {component: [0, 0] for component in COMPONENTS}
    for name, weight in model.named_parameters():       # leaves out the second name of a shared weight
        counts[_component(name)][0] += weight.numel()
        counts[_component(name)][1] += weight.numel() * weight.requires_grad
    total = max(sum(count for count, _ in counts.values()), 1)
    return [{"component": component, "parameters": count, "trainable": trainable, "share": count / total}
            for component, (count, trainable) in counts.items() if count or component != "other"]
