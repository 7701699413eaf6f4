"""Sizes: how many parameters a model has and where they lie; untrained models of FLAN-T5's published sizes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

COMPONENTS = ("embeddings", "encoder", "decoder", "head", "other")
COMMON = {
    "d_kv": 64,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
SHAPES = {
    "google/flan-t5-small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6},
    "google/flan-t5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12},
}


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
    for name, weight in model.named_parameters():  # leaves out the second name of a shared weight
        counts[_component(name)][0] += weight.numel()
        counts[_component(name)][1] += weight.numel() * weight.requires_grad
    total = max(sum(count for count, _ in counts.values()), 1)
    return [
        {"component": component, "parameters": count, "trainable": trainable, "share": count / total}
        for component, (count, trainable) in counts.items()
        if count or component != "other"
    ]


def untrained(name: str, device: str = "meta", seed: int = 0) -> T5ForConditionalGeneration:
    """A model of the named one's shapes with weights drawn at random; its output head is its own, as in FLAN-T5.

    Args:
        device: on "meta" the weights have shapes and no values: nothing is computed and no memory is needed.
    Raises:
        ValueError: the name is not in `SHAPES`.
    Source: the config.json that comes with the weights (Chung et al. 2022).
    """
    if name not in SHAPES:
        raise ValueError(f"name: {name!r} is not one of {', '.join(SHAPES)}")
    with torch.device(device), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(T5Config(**COMMON | SHAPES[name]))
        model.lm_head = nn.Linear(
            model.config.d_model, model.config.vocab_size, bias=False
        )  # T5Config alone ties it to the embeddings
        model.config.tie_word_embeddings = False
    return model
