"""Distributed training: one step shared between processes by DDP, ZeRO or FSDP; losses, gradients and bytes are
reported.

`train_together` starts the processes, waits for them and ends them together. They meet through a file and speak by
gloo, on the processor; the same runs on Linux, macOS and Windows. Each is a Python of its own, started as
python -m helpers.training.distributed FOLDER RANK PROCESSES: what started them, a notebook or a script, is not run
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from helpers.data.pairs import IGNORED
from helpers.run_records import write_json
from helpers.training.memory import Held, held

ALONE, WAYS = "one process", ("ddp", "zero-1", "fsdp")
FAULTS = ("summed gradients", "same rows", "mean of means")  # of published training code, each for `Job.fault`
ROOT, WORK = Path(__file__).resolve().parents[2], "work.json"  # where `helpers` is found; what the processes read
LOOPBACK = {
    "linux": "lo",
    "darwin": "lo0",
}  # gloo would listen on the address of the computer's name, which others may reach; on Windows it takes no such name


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
        gradient: norm of the first step's gradient, as the optimizer sees it; digest: SHA-256 of the part of it that
            this process holds.
        held: bytes after the backward pass and with the optimizer's states; sent: bytes of gradients that it handed
            over in one step (None where nothing counts them).
        gathered: the most bytes of whole weights and whole gradients at a time, beside its shares of them (FSDP; else
            0). Buffers of the communication are not counted.
    """

    losses: list[float]
    rows: list[int]
    gradient: float
    digest: str
    held: Held
    sent: int | None
    gathered: int = 0


def own_rows(count: int, rank: int, processes: int) -> list[int]:
    """Which of a batch's rows a process takes: every `processes`-th, as torch's DistributedSampler deals them."""
    return list(range(count))[rank::processes]


def _wrapped(model, way, rate):
    """The model in the form that shares the work, its optimizer, and a list of the bytes that each step hands over."""
    sizes = []
    if way == "fsdp":
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for block in (*model.encoder.block, *model.decoder.block):  # gathered one after the other, never all at once
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


def _watch_gathered(model, sizes):
    """Appends the bytes of all weights and gradients that are whole, wherever a layer of FSDP's blocks begins, forwards
    and backwards: there the block's weights have been gathered, and its gradients are not yet divided.
    """

    def look():
        whole = [weight for weight in model.parameters() if not isinstance(weight, DTensor)]
        sizes.append(sum(part.nbytes for weight in whole for part in (weight, weight.grad) if part is not None))

    def begins(_, inputs):
        look()
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda _: look())

    for block in (*model.encoder.block, *model.decoder.block):
        for layer in block.layer:
            layer.register_forward_pre_hook(begins)


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
    """Trains on this process's rows of each batch, without dropout; all processes together take the step of one process
    with the whole batch.

    Each process divides by its share of the labels of *all* rows, since the average over processes then is the mean
    over labels.

    Args:
        batches: of input_ids, attention_mask (B, S) and labels (B, T).
    """
    model, optimizer, sizes = _wrapped(model.eval(), job.way, job.rate)
    losses, first, whole = [], None, [0]
    if job.way == "fsdp":
        _watch_gathered(model, whole)
    for batch in batches:
        rows = own_rows(len(batch["labels"]), 0 if job.fault == "same rows" else rank, processes)
        own = {name: values[rows] for name, values in batch.items()}
        labels = own["labels"]
        logits = model(**own).logits
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
    return Report(losses, rows, norm, digest, kept, given, max(whole))


def _load(folder):
    """The model as it was saved, in float32 on the processor."""
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return AutoModelForSeq2SeqLM.from_pretrained(
        folder / "model", dtype=torch.float32, local_files_only=True, use_safetensors=True
    )


def work(folder: Path, rank: int, processes: int):
    """What each process does: meets the others, works through the jobs in the folder, writes a report of each."""
    torch.set_num_threads(1)
    warnings.filterwarnings(
        "ignore", message="FSDP2-wrapped module"
    )  # of blocks that return a view: T5 changes none of them in place, and the gradients agree
    given = json.loads((folder / WORK).read_text(encoding="utf-8"))
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=processes)
    try:
        batches = [{name: torch.tensor(values) for name, values in batch.items()} for batch in given["batches"]]
        for number, job in enumerate(given["jobs"]):
            report = train_steps(_load(folder), batches, Job(**job), rank, processes)
            write_json(folder / f"{number}-{rank}.json", asdict(report) | {"held": list(report.held)})
            dist.barrier()
    finally:
        dist.destroy_process_group()


def _wait(started):
    """Waits for all of them; if one fails, the others, which would wait for it, are ended.

    Raises:
        RuntimeError: one has failed; the message has the last of what it said.
    """
    while any(process.poll() is None for process, _ in started) and not any(process.poll() for process, _ in started):
        time.sleep(0.05)
    _end(started)
    for rank, (process, said) in enumerate(started):
        said.seek(0)
        if process.returncode > 0:
            raise RuntimeError(
                f"process {rank} of {len(started)} ended with code {process.returncode}: " + said.read()[-1500:]
            )
    if any(process.returncode for process, _ in started):
        raise RuntimeError(
            f"processes: ended with codes {[process.returncode for process, _ in started]}; there may be too "
            "little memory for so many copies of the model"
        )


def _end(started):
    """Ends those that still run: after a failure of another one, or after Ctrl-C."""
    for process, _ in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def train_together(model, batches: Sequence[dict], jobs: Sequence[Job], processes: int = 2) -> dict[Job, list[Report]]:
    """Starts so many processes, which work through the jobs together, each from the same weights; the given model is
    left as it is.

    Returns:
        job -> the report of each process.
    Raises:
        ValueError: fewer rows in a batch than processes, or a job that no two processes can share.
        RuntimeError: one of them has failed; the message has the last of what it said.
    """
    fewest = min(len(batch["labels"]) for batch in batches)
    if fewest < processes or any(job.way == ALONE for job in jobs):
        raise ValueError(
            f"processes: {processes} for batches of {fewest} rows or more, ways {', '.join(job.way for job in jobs)}; "
            f"each process needs a row, and {ALONE!r} is for `train_steps`"
        )
    plain = [{name: values.tolist() for name, values in batch.items()} for batch in batches]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as files:
        folder = Path(name)
        model.save_pretrained(folder / "model", safe_serialization=True)
        write_json(folder / WORK, {"batches": plain, "jobs": [asdict(job) for job in jobs]})
        started, loopback = [], LOOPBACK.get(sys.platform)
        surroundings = os.environ | ({"GLOO_SOCKET_IFNAME": loopback} if loopback else {})
        try:
            for rank in range(processes):
                said = files.enter_context(
                    open(folder / f"said-{rank}.txt", "w+", encoding="utf-8", errors="replace", newline="\n")
                )
                command = [sys.executable, "-m", "helpers.training.distributed", str(folder), str(rank), str(processes)]
                started.append(
                    (
                        subprocess.Popen(
                            command,
                            cwd=ROOT,
                            env=surroundings,
                            stdin=subprocess.DEVNULL,
                            stdout=said,
                            stderr=subprocess.STDOUT,
                        ),
                        said,
                    )
                )
            _wait(started)
        finally:
            _end(started)
        found = [
            [json.loads((folder / f"{number}-{rank}.json").read_text(encoding="utf-8")) for rank in range(processes)]
            for number in range(len(jobs))
        ]
    return {
        job: [Report(**report | {"held": Held(*report["held"])}) for report in reports]
        for job, reports in zip(jobs, found)
    }


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
