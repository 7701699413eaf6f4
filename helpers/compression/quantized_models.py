"""Quantized models: linear layers that torchao holds in 8 bits and fewer, or bitsandbytes in 4-bit NF4 (QLoRA's
base).
"""

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

# Ends the name of the tensor that says how a layer was quantized.
NF4_STATE = ".weight.quant_state.bitsandbytes__nf4"
GROUP = 32  # weights that share a scale at 4 bits and below; 32 is the smallest that torchao's int4 kernels take


def low_bits(bits: int, group: int = GROUP) -> AOBaseConfig:
    """Weights of so many bits (2 to 8) in groups; computed in floating point, and so on any hardware."""
    return IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(group))


# The inductor's settings belong to the code that compiles, and are left alone.
SCHEMES = {
    "int8 weight-only": Int8WeightOnlyConfig(set_inductor_config=False),
    "int8 dynamic": Int8DynamicActivationInt8WeightConfig(set_inductor_config=False),
    "int4 weight-only": low_bits(4),
    "int4 weight-only, GPU kernel": Int4WeightOnlyConfig(group_size=GROUP, set_inductor_config=False),
}


def linear_layers(model) -> list[str]:
    """Names of all linear layers but the output head, which like the embeddings is left as it is unless somebody
    asks.
    """
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]


def quantized(model, scheme: AOBaseConfig, layers: Collection[str] | None = None):
    """A copy whose named layers (all linear ones but the head, without a value) torchao has quantized; the model stays
    as it was.

    Raises:
        ImportError: torchao's kernel for this scheme is not there; it names what is missing.
    """
    copied, chosen = copy.deepcopy(model).requires_grad_(False), set(linear_layers(model) if layers is None else layers)
    quantize_(copied, scheme, filter_fn=lambda module, name: name in chosen)
    copied.config.tie_word_embeddings = copied.get_output_embeddings().weight is copied.get_input_embeddings().weight
    return copied


def with_int8_embeddings(model):
    """A copy whose embeddings and output head are int8, a scale for each token; where they were one tensor they still
    are.
    """
    copied = copy.deepcopy(model)
    for old in {
        id(weight): weight for weight in (copied.get_input_embeddings().weight, copied.get_output_embeddings().weight)
    }.values():
        holder = nn.Linear(old.shape[1], old.shape[0], bias=False, device="meta")
        holder.weight = nn.Parameter(old.detach(), requires_grad=False)
        quantize_(holder, IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0)))
        for module in copied.modules():
            for name, weight in module._parameters.items():
                if weight is old:
                    module._parameters[name] = holder.weight
    return copied


def fake_quantized(model, bits: int):
    """The model itself, its linear layers set up for quantization-aware training: weights rounded forwards, gradients
    straight through.
    """
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
    held = {
        part.untyped_storage().data_ptr(): part.untyped_storage().nbytes()
        for tensor in model.state_dict().values()
        for part in parts(tensor)
    }
    return sum(held.values())


def _empty(layer: nn.Linear, dtype: torch.dtype):
    """A layer of the same shape that has no weights yet.

    Two of its settings differ from bitsandbytes' own. The bytes count as int8: T5 casts the activations before `wo` to
    the type of its weights unless that is int8, and would cast them to whole numbers from 0 to 255. And the packing for
    processors with bfloat16 instructions is off: it replaces the weights at the first prompt, gives other numbers than
    on other processors, and cuts off the gradients of a training that goes on after an evaluation.
    """
    import bitsandbytes  # not above: only QLoRA needs it, and it takes a second

    empty = bitsandbytes.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        layer.bias is not None,
        compute_dtype=dtype,
        quant_type="nf4",
        quant_storage=torch.int8,
        device="meta",
    )
    empty.support_avx512bf16_for_cpu = False
    empty.bias = layer.bias
    return empty


def nf4(model):
    """A copy whose linear layers, the head left out, are NF4 in blocks of 64 with scales in 8 bits; peft takes it as
    the base of QLoRA.

    Source: Dettmers et al. 2023, section 3.
    """
    import bitsandbytes

    copied = copy.deepcopy(model).requires_grad_(False)
    for name in linear_layers(model):
        layer = copied.get_submodule(name)
        four_bit = _empty(layer, layer.weight.dtype)
        four_bit.weight = bitsandbytes.nn.Params4bit(
            layer.weight.detach(), requires_grad=False, quant_type="nf4", quant_storage=torch.int8, module=four_bit
        )
        copied.set_submodule(name, four_bit.to(layer.weight.device))
    copied.is_loaded_in_4bit = True  # what peft asks
    return copied


def restore_nf4(model, tensors: dict[str, torch.Tensor], device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Puts the NF4 layers among the tensors of a file into a model without weights; the tensors that are left belong to
    other layers.

    Args:
        tensors: as `state_dict` names them; dtype: of the activations.
    """
    import bitsandbytes

    left = dict(tensors)
    for name in [key.removesuffix(NF4_STATE) for key in tensors if key.endswith(NF4_STATE)]:
        layer, prefix = _empty(model.get_submodule(name), dtype), f"{name}.weight"
        stats = {key.removeprefix(f"{prefix}."): left.pop(key) for key in tensors if key.startswith(f"{prefix}.")}
        layer.weight = bitsandbytes.nn.Params4bit.from_prequantized(
            left.pop(prefix), stats, device=device, module=layer
        )
        model.set_submodule(name, layer)
        model.is_loaded_in_4bit = True
    return left
