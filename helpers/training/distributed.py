"""Distributed training: one step shared between processes by DDP, ZeRO or FSDP; losses, gradients and bytes are reported.

This is what each process does; `helpers.training.processes` starts them and lets them meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from helpers.training.memory import Held, held
from helpers.data.pairs import IGNORED

ALONE, WAYS = "one process", ("ddp", "zero-1", "fsdp")
FAULTS = ("summed gradients", "same rows", "mean of means")     # of published training code, each for `Job.fault`


@dataclass(frozen=True)
class Job:
    """One short training: how it is shared, at which rate, and which known mistake it makes, if any.

    Raises:
        ValueError: a way or a fault that is not known.
    """
    way: str = "ddp"
    fault: str = ""
    rate: float = 1e-3

    def __post_init__(self):
        for name, value, known in (("way", self.way, (ALONE, *WAYS)), ("fault", self.fault, ("", *FAULTS))):
            if value not in known:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(repr, known))}")


@dataclass(frozen=True)
class Report:
    """What one process did.

    Attributes:
        losses: of each step, over the rows of all processes, in nats a label.
        rows: numbers of the first batch's rows that this process saw.
        gradient: norm of the first step's gradient, as the optimizer sees it; digest: SHA-256 of the part of it that this process holds.
        held: bytes after the backward pass and with the optimizer's states; sent: bytes of gradients that it handed over in one step (None where nothing counts them).
    """
    losses: list[float]
    rows: list[int]
    gradient: float
    digest: str
    held: Held
    sent: int | None


def own_rows(count: int, rank: int, processes: int) -> list[int]:
    """Which of a batch's rows a process takes: every `processes`-th, as torch's DistributedSampler deals them."""
    return list(range(count))[rank::processes]


def _wrapped(model, way, rate):
    """The model in the form that shares the work, its optimizer, and a list of the bytes that each step hands over."""
    sizes = []
    if way == "fsdp":
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for block in (*model.encoder.block, *model.decoder.block):     # gathered one after the other, never all at once
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    elif way != ALONE:
        model = DistributedDataParallel(model)

        def counted(_, bucket):
            sizes.append(bucket.buffer().nbytes)
            return allreduce_hook(None, bucket)
        model.register_comm_hook(None, counted)
    if way == "zero-1":
        return model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=rate), sizes
    return model, torch.optim.AdamW(model.parameters(), rate), sizes


def _share(value):
    """The sum of a number over all processes."""
    total = torch.tensor(float(value), dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item()


def _gradients(model):
    """(norm over all processes' parts, digest of this one's); shared weights count once."""
    digest, square, divided = hashlib.sha256(), 0.0, False
    for weight in model.parameters():
        divided = divided or hasattr(weight.grad, "to_local")
        own = weight.grad.to_local() if hasattr(weight.grad, "to_local") else weight.grad
        square += own.double().square().sum().item()
        digest.update(own.contiguous().flatten().view(torch.uint8).numpy())
    return (_share(square) if divided else square) ** 0.5, digest.hexdigest()


def train_steps(model, batches: Sequence[dict], job: Job, rank: int = 0, processes: int = 1) -> Report:
    """Trains on this process's rows of each batch, without dropout; all processes together take the step of one process with the whole batch.

    Each process divides by its share of the labels of *all* rows, since the average over processes then is the mean over labels.

    Args:
        batches: of input_ids, attention_mask (B, S) and labels (B, T).
    """
    model, optimizer, sizes = _wrapped(model.eval(), job.way, job.rate)
    losses, first = [], None
    for batch in batches:
        rows = own_rows(len(batch["labels"]), 0 if job.fault == "same rows" else rank, processes)
        own = {name: values[rows] for name, values in batch.items()}
        labels = own["labels"]
        logits = model(**{name: values for name, values in own.items()}).logits
        total = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        here = (labels != IGNORED).sum().item()
        everywhere = _share(here)
        loss = total / here if job.fault == "mean of means" else total / (everywhere / processes)
        (loss * processes if job.fault == "summed gradients" else loss).backward()
        losses.append(_share(total.item()) / everywhere)
        if first is None:
            first = rows, *_gradients(model), sum(sizes) if sizes else None
        optimizer.step()
        kept = held(model, optimizer)
        optimizer.zero_grad()
    rows, norm, digest, given = first
    return Report(losses, rows, norm, digest, kept, given)
