"""NF4: linear layers whose weights bitsandbytes holds in 4-bit "normal floats", the frozen base of QLoRA."""

from __future__ import annotations

import copy

import bitsandbytes
import torch
from torch import nn

from helpers.compression.quantized_models import linear_layers

STATE = ".weight.quant_state.bitsandbytes__nf4"     # ends the name of the tensor that says how a layer was quantized


def _empty(layer: nn.Linear, dtype: torch.dtype):
    """A layer of the same shape that has no weights yet.

    Two of its settings differ from bitsandbytes' own. The bytes count as int8: T5 casts the activations before `wo` to the type of its weights unless that
    is int8, and would cast them to whole numbers from 0 to 255. And the packing for processors with bfloat16 instructions is off: it replaces the weights
    at the first prompt, gives other numbers than on other processors, and cuts off the gradients of a training that goes on after an evaluation.
    """
    empty = bitsandbytes.nn.Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, compute_dtype=dtype, quant_type="nf4",
                                       quant_storage=torch.int8, device="meta")
    empty.support_avx512bf16_for_cpu = False
    empty.bias = layer.bias
    return empty


def nf4(model):
    """A copy whose linear layers, the head left out, are NF4 in blocks of 64 with scales in 8 bits; peft takes it as the base of QLoRA.

    Source: Dettmers et al. 2023, section 3.
    """
    copied = copy.deepcopy(model).requires_grad_(False)
    for name in linear_layers(model):
        layer = copied.get_submodule(name)
        four_bit = _empty(layer, layer.weight.dtype)
        four_bit.weight = bitsandbytes.nn.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4", quant_storage=torch.int8, module=four_bit)
        copied.set_submodule(name, four_bit.to(layer.weight.device))
    copied.is_loaded_in_4bit = True     # what peft asks
    return copied


def restore(model, tensors: dict[str, torch.Tensor], device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Puts the NF4 layers among the tensors of a file into a model without weights; the tensors that are left belong to other layers.

    Args:
        tensors: as `state_dict` names them; dtype: of the activations.
    """
    left = dict(tensors)
    for name in [key.removesuffix(STATE) for key in tensors if key.endswith(STATE)]:
        layer, prefix = _empty(model.get_submodule(name), dtype), f"{name}.weight"
        stats = {key.removeprefix(f"{prefix}."): left.pop(key) for key in tensors if key.startswith(f"{prefix}.")}
        layer.weight = bitsandbytes.nn.Params4bit.from_prequantized(left.pop(prefix), stats, device=device, module=layer)
        model.set_submodule(name, layer)
        model.is_loaded_in_4bit = True
    return left
