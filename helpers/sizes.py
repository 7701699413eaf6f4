"""Sizes: how many parameters a model has and where they lie, and the bytes that they take in each number format."""

from __future__ import annotations

from typing import NamedTuple

BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
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


def memory_footprint(model) -> list[dict]:
    """Bytes that a model takes, one row a number format: held for inference, and while training with Adam.

    Columns: dtype; weights (every parameter in that format); gradients, adam (two moments; both only for trainable
    parameters) and training, the sum of the three; None for int8, which is for inference only. With all of it
    trainable the sum is 4 times the weights; activations, which grow with the batch, and temporary buffers come on top.
    Source: Rajbhandari et al. 2020 (ZeRO), section 3.1, for one format throughout.
    """
    trainable, total = count_parameters(model)
    table = []
    for dtype, size in BYTES.items():
        row = {"dtype": dtype, "weights": size * total, "gradients": None, "adam": None, "training": None}
        if dtype != "int8":
            row |= {"gradients": size * trainable, "adam": 2 * size * trainable,
                    "training": size * (total + 3 * trainable)}
        table.append(row)
    return table


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
