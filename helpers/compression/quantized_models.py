"""Quantized models: copies whose linear layers torchao holds in 8 bits and fewer, after training or prepared for it."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import nn
from torchao.core.config import AOBaseConfig
from torchao.quantization import (
    Int4WeightOnlyConfig,
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerAxis,
    PerGroup,
    quantize_,
)
from torchao.quantization.qat import QATConfig
from torchao.utils import TorchAOBaseTensor

GROUP = 32      # weights that share a scale at 4 bits and below; 32 is the smallest that torchao's int4 kernels take


def low_bits(bits: int, group: int = GROUP) -> AOBaseConfig:
    """Weights of so many bits (2 to 8) in groups; computed in floating point, and so on any hardware."""
    return IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(group))


# The inductor's settings belong to whoever compiles, and are left alone.
SCHEMES = {
    "int8 weight-only": Int8WeightOnlyConfig(set_inductor_config=False),
    "int8 dynamic": Int8DynamicActivationInt8WeightConfig(set_inductor_config=False),
    "int4 weight-only": low_bits(4),
    "int4 weight-only, GPU kernel": Int4WeightOnlyConfig(group_size=GROUP, set_inductor_config=False),
}


def linear_layers(model) -> list[str]:
    """Names of all linear layers but the output head, which like the embeddings is left as it is unless somebody asks."""
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]


def quantized(model, scheme: AOBaseConfig, layers: Collection[str] | None = None):
    """A copy whose named layers (all linear ones but the head, without a value) torchao has quantized; the model stays as it was.

    Raises:
        ImportError: torchao's kernel for this scheme is not there; it names what is missing.
    """
    copied, chosen = copy.deepcopy(model).requires_grad_(False), set(linear_layers(model) if layers is None else layers)
    quantize_(copied, scheme, filter_fn=lambda module, name: name in chosen)
    copied.config.tie_word_embeddings = copied.get_output_embeddings().weight is copied.get_input_embeddings().weight
    return copied


def with_int8_embeddings(model):
    """A copy whose embeddings and output head are int8, a scale for each token; where they were one tensor they still are."""
    copied = copy.deepcopy(model)
    for old in {id(weight): weight for weight in (copied.get_input_embeddings().weight, copied.get_output_embeddings().weight)}.values():
        holder = nn.Linear(old.shape[1], old.shape[0], bias=False, device="meta")
        holder.weight = nn.Parameter(old.detach(), requires_grad=False)
        quantize_(holder, IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0)))
        for module in copied.modules():
            for name, weight in module._parameters.items():
                if weight is old:
                    module._parameters[name] = holder.weight
    return copied


def fake_quantized(model, bits: int):
    """The model itself, its linear layers set up for quantization-aware training: weights rounded forwards, gradients straight through."""
    chosen = set(linear_layers(model))
    quantize_(model, QATConfig(low_bits(bits), step="prepare"), filter_fn=lambda module, name: name in chosen)
    return model


def converted(model, bits: int):
    """A copy of a model that was trained so, with true integers in place of the rounded weights."""
    copied, chosen = copy.deepcopy(model).requires_grad_(False), set(linear_layers(model))
    quantize_(copied, QATConfig(low_bits(bits), step="convert"), filter_fn=lambda module, name: name in chosen)
    return copied


def parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that a weight consists of: integers, scales, zero points; a plain weight itself."""
    if not isinstance(tensor, TorchAOBaseTensor):
        return [tensor]
    names = [*tensor.tensor_data_names, *getattr(tensor, "optional_tensor_data_names", [])]
    return [part for part in (getattr(tensor, name) for name in names) if part is not None]


def held_bytes(model) -> int:
    """Bytes of all weights as they lie in memory, each storage once; bitsandbytes' scales included."""
    held = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for tensor in model.state_dict().values() for part in parts(tensor)}
    return sum(held.values())
