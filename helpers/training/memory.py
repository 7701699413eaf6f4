"""Memory of training: bytes that tensors really hold, and the arithmetic of what they must be, on one processor or
shared between several.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks

from helpers.hardware import PeakMemory

STRATEGIES = (
    "ddp",
    "zero-1",
    "zero-2",
    "fsdp",
)  # what is shared: nothing; the optimizer's states; gradients too; weights too
RECIPES = {  # bytes a parameter: of its weight, its gradient, and all that the optimizer holds of it
    "float32, Adam": (4, 4, 8),
    "bfloat16, Adam, float32 master copy": (2, 2, 12),
    "bfloat16, Adam throughout": (2, 2, 4),
    "bfloat16, 8-bit Adam, float32 master copy": (2, 2, 6),
}
WIDTH_A_LAYER, VOCABULARY = 128, 32_000  # of Llama's decoders: with 7 billion 32 layers of width 4,096


class Held(NamedTuple):
    """Bytes of a model in training, by what they are of."""

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All three."""
        return sum(self)


def local_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the numbers that this process holds of a tensor: all of them, or its share of one that is divided."""
    own = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return own.numel() * own.element_size()


def held(model, optimizer) -> Held:
    """Bytes that the real tensors of a model and of its optimizer take in this process; shared weights count once.

    Args:
        optimizer: one of torch, or a `ZeroRedundancyOptimizer` around it. Counters of a single number are left out.
    """
    weights = list(model.parameters())
    states = getattr(optimizer, "optim", optimizer).state.values()
    return Held(
        sum(map(local_bytes, weights)),
        sum(local_bytes(weight.grad) for weight in weights if weight.grad is not None),
        sum(
            local_bytes(value) for state in states for value in state.values() if torch.is_tensor(value) and value.dim()
        ),
    )


class Activations:
    """Inside `with`, counts what the forward pass keeps for the backward pass; afterwards `total` has it in bytes.

    What several operations keep is counted once, and weights, which are there anyway, not at all.
    Source: `torch.autograd.graph.saved_tensors_hooks`.
    """

    def __init__(self, model):
        self.known = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self.found, self.alive = {}, []

    def _keep(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.found[storage.data_ptr()] = storage.nbytes()
            self.alive.append(storage)  # an address must not be given to another tensor while it is counted
        return tensor

    def __enter__(self):
        self.hooks = saved_tensors_hooks(self._keep, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)
        self.alive.clear()

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.found.values())


def activation_bytes(model, batch) -> int:
    """Bytes that one forward pass on this batch keeps for the backward pass; nothing is trained."""
    with Activations(model) as activations:
        loss = model(**batch).loss  # held while it is counted: with it everything would be freed
    del loss
    return activations.total


@dataclass(frozen=True)
class Step:
    """One training step: bytes held at its end, bytes kept between its two passes, and the most that the process grew
    by.
    """

    held: Held
    activations: int
    peak: int


def training_step(model, batch) -> Step:
    """Makes one real step with AdamW on a copy of the model and measures what it holds.

    Args:
        batch: as the model takes it, labels included, on its device.
    """
    with PeakMemory(str(next(model.parameters()).device.type)) as memory:
        trained = copy.deepcopy(model).train()
        optimizer = torch.optim.AdamW(trained.parameters(), 1e-5)
        with Activations(trained) as activations:
            loss = trained(**batch).loss
        loss.backward()
        optimizer.step()
        found = held(trained, optimizer)
    return Step(found, activations.total, memory.peak)


def expected(parameters: int, recipe: str = "float32, Adam", strategy: str = "ddp", processes: int = 1) -> Held:
    """Bytes that each process holds, activations aside.

    Raises:
        ValueError: a recipe or strategy that is not known, or no process.
    Source: Rajbhandari et al. 2020 (ZeRO), figure 1: each stage divides one more of the three by the processes.
    """
    for name, value, known in (("recipe", recipe, RECIPES), ("strategy", strategy, STRATEGIES)):
        if value not in known:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(known)}")
    if processes < 1:
        raise ValueError(f"processes: {processes} is less than 1")
    stage = STRATEGIES.index(strategy)
    weights, gradients, optimizer = (size * parameters for size in RECIPES[recipe])
    return Held(
        round(weights / (processes if stage > 2 else 1)),
        round(gradients / (processes if stage > 1 else 1)),
        round(optimizer / (processes if stage > 0 else 1)),
    )


class Units(NamedTuple):
    """Parameters that are gathered together: all that belong to no block, and those of one block."""

    outside: int
    block: int


def decoder_units(parameters: int) -> Units:
    """The units of a decoder of Llama's shape: embeddings and head, and a block of 12·width² parameters.

    The number of layers, which may be a fraction, is the one that gives this many parameters in all.
    Source: Touvron et al. 2023 (LLaMA), table 2: the width is about 128 times the number of layers.
    """
    outside, block = 2 * VOCABULARY * WIDTH_A_LAYER, 12 * WIDTH_A_LAYER**2  # times layers, times layers²
    roots = np.roots([block, 0, outside, -parameters])
    layers = float(roots[abs(roots.imag).argmin()].real)  # the only real one
    return Units(round(outside * layers), round(block * layers**2))


def gathered(parameters: int, recipe: str = "float32, Adam", strategy: str = "ddp", processes: int = 1) -> int:
    """Bytes that are whole within a step of a decoder, at most, beside the shares that each process keeps.

    With "fsdp": the weights outside of the blocks, of the block that computes, and of the next one, which is gathered
    meanwhile. With "fsdp" and "zero-2": the gradients outside of the blocks and of that block, before they are divided.
    0 where nothing is divided. Activations and other buffers of the communication are not counted.
    """
    if processes == 1:
        return 0
    weight, gradient, _ = RECIPES[recipe]
    outside, block = decoder_units(parameters)
    of_others = parameters * (processes - 1) / processes  # this process's share is held already
    stage = STRATEGIES.index(strategy)
    gradients = gradient * min(outside + block, of_others) if stage > 1 else 0
    return round(gradients + (weight * (outside + 2 * block) if stage > 2 else 0))


def sent(parameters: int, processes: int, strategy: str = "ddp", size: int = 4) -> int:
    """Bytes that each process sends in a step, with rings: gradients added up and spread (twice the model); "fsdp"
    gathers weights in both passes too.

    Source: Rajbhandari et al. 2020, section 7.
    """
    times = 3 if strategy == "fsdp" else 2
    return round(times * size * parameters * (processes - 1) / processes)
