"""Pruning: copies of a model in which the least important weights are zero, wherever they stand or two of every four;
the bytes that zeros save on disk.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune

from helpers.compression.quantized_models import linear_layers
from helpers.data.pairs import Collator
from helpers.models.generation import evaluating

SCOPES = ("layer", "global")
GROUP = 4  # neighbours in a row, two of which are zero: what the sparse tensor cores of NVIDIA's GPUs compute with


def _copied(model, layers):
    """(a copy that may be changed, its layers that are to be pruned): all linear ones but the head without names."""
    copied = copy.deepcopy(model)
    return copied, list(linear_layers(model) if layers is None else layers)


def _without_signs(model, layers):
    """Pruned weights are products with a mask of zeros, and half of them −0: equal to 0, but with a bit set that no
    file compresses away.
    """
    with torch.no_grad():
        for name in layers:
            model.get_submodule(name).weight.add_(0.0)
    return model


def check_share(name: str, value: float):
    """Raises ValueError unless the value lies from 0 to below 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}: {value!r} is not a share from 0 to below 1; 0.8 sets four fifths to zero")


def pruned(model, sparsity: float, scope: str = "layer", layers: Collection[str] | None = None):
    """A copy in which this share of the weights with the smallest magnitudes is zero; the model stays as it was.

    The result is an ordinary model: torch's masks are applied and removed.

    Args:
        sparsity: from 0 to below 1. scope: "layer": that share of each layer; "global": of all layers together, with
            one threshold.
        layers: names; all linear ones but the head without a value.
    Raises:
        ValueError: another share or scope.
    Source: Han et al. 2015, section 3, through torch.nn.utils.prune.
    """
    check_share("sparsity", sparsity)
    if scope not in SCOPES:
        raise ValueError(f"scope: {scope!r} is not one of {', '.join(SCOPES)}")
    copied, names = _copied(model, layers)
    modules = [copied.get_submodule(name) for name in names]
    if scope == "global":
        prune.global_unstructured(
            [(module, "weight") for module in modules], prune.L1Unstructured, amount=float(sparsity)
        )
    for module in modules:
        if scope == "layer":
            prune.l1_unstructured(module, "weight", amount=float(sparsity))
        prune.remove(module, "weight")
    return _without_signs(copied, names)


def two_of_four(model, layers: Collection[str] | None = None):
    """A copy in which of every four neighbours in a row the two with the smallest magnitudes are zero.

    Raises:
        ValueError: a layer's rows are no whole number of fours.
    Source: Mishra et al. 2021, section 3, through torch.ao.pruning.
    """
    copied, names = _copied(model, layers)
    _check_columns(copied, names)
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, GROUP), zeros_per_block=GROUP // 2)
    sparsifier.prepare(copied, [{"tensor_fqn": f"{name}.weight"} for name in names])
    sparsifier.step()
    sparsifier.squash_mask()
    return _without_signs(copied, names)


@torch.no_grad()
def input_norms(model, tokenizer, pairs, layers: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """Layer -> (columns,) the norm of each of its inputs over all tokens of some pairs."""
    squares, hooks, collate = {}, [], Collator(tokenizer.pad_token_id, multiple=1)
    for name in linear_layers(model) if layers is None else layers:

        def add_up(_, inputs, name=name):
            squares[name] = squares.get(name, 0) + inputs[0].float().flatten(0, -2).pow(2).sum(0)

        hooks.append(model.get_submodule(name).register_forward_pre_hook(add_up))
    try:
        with evaluating(model):
            for pair in pairs:  # one at a time: padding would be measured too
                model(**{name: tensor.to(model.device) for name, tensor in collate([pair]).items()})
    finally:
        for hook in hooks:
            hook.remove()
    return {name: found.sqrt() for name, found in squares.items()}


def wanda(model, norms: Mapping[str, torch.Tensor], sparsity: float = 0.5, fours: bool = False):
    """A copy in which the weights of least |weight| · ‖its input‖ are zero, the same share of every row: nothing is
    trained.

    torchao's WandaSparsifier (0.18) is not used: it multiplies by the squared norm, and compares all weights of a layer
    instead of a row's.

    Args:
        norms: as `input_norms` gives them; the layers that they name are pruned. sparsity: share. fours: two of every
            four neighbours instead.
    Raises:
        ValueError: another share; rows that are no whole number of fours.
    Source: Sun et al. 2023, section 3 (equation 1), and 4.2 for two of four.
    """
    check_share("sparsity", sparsity)
    copied = copy.deepcopy(model)
    if fours:
        _check_columns(copied, norms)
    for name, norm in norms.items():
        weight = copied.get_submodule(name).weight
        score = (weight.detach().float().abs() * norm).reshape(-1, GROUP if fours else weight.shape[1])
        smallest = score.argsort(dim=1, stable=True)[:, : GROUP // 2 if fours else round(sparsity * weight.shape[1])]
        with torch.no_grad():
            weight.view(score.shape).scatter_(1, smallest, 0.0)
    return copied


def _check_columns(model, names):
    for name in names:
        columns = model.get_submodule(name).weight.shape[1]
        if columns % GROUP:
            raise ValueError(f"{name}: has {columns} columns, which is no whole number of fours; leave the layer out")


def zeros(model, layers: Collection[str] | None = None) -> float:
    """Share of the weights that are exactly zero, in the named layers (all linear ones but the head without a
    value).
    """
    weights = [model.get_submodule(name).weight for name in (linear_layers(model) if layers is None else layers)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def has_two_of_four(weight: torch.Tensor) -> bool:
    """Whether of every four neighbours in a row at least two are zero."""
    return weight.shape[-1] % GROUP == 0 and bool(((weight.reshape(-1, GROUP) == 0).sum(1) >= GROUP // 2).all())


def to_bitmap(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(a bit for each place as bytes, uint8; the values that are not zero, in their order)."""
    weight = weight.detach().cpu()
    return torch.from_numpy(np.packbits((weight != 0).flatten().numpy())), weight[weight != 0]


def from_bitmap(bits: torch.Tensor, values: torch.Tensor, shape) -> torch.Tensor:
    """The matrix that `to_bitmap` was given."""
    places = torch.from_numpy(np.unpackbits(bits.numpy(), count=torch.Size(shape).numel())).bool()
    return torch.zeros(torch.Size(shape), dtype=values.dtype).masked_scatter_(places.reshape(shape), values)


def stored_bytes(weight: torch.Tensor) -> dict[str, int]:
    """Bytes of one matrix in several forms, the values as they are.

    "dense": all values. "bitmap": as `to_bitmap` gives it. "CSR": the values that are not zero, their columns as 32-bit
    integers, and where each row begins (as torch.sparse_csr). "zlib": the dense bytes compressed without loss. "2:4",
    where the matrix has that pattern: two values of every four, and two bits for the place of each.
    """
    size, kept, count = weight.element_size(), int((weight != 0).sum()), weight.numel()
    raw = weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    forms = {
        "dense": size * count,
        "bitmap": -(-count // 8) + size * kept,
        "CSR": (size + 4) * kept + 4 * (len(weight) + 1),
        "zlib": len(zlib.compress(raw, 6)),
    }
    return forms | ({"2:4": count // 2 * size + count // 8} if has_two_of_four(weight) else {})
