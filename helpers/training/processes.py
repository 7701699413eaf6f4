"""Processes: several Pythons that train together on one machine; started, waited for, and ended together.

They meet through a file and speak by gloo, on the processor; the same runs on Linux, macOS and Windows. Each is a Python of its own, started as
python -m helpers.training.processes FOLDER RANK PROCESSES: what started them, a notebook or a script, is not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from torch import distributed as dist

from helpers.training.distributed import ALONE, Job, Report, train_steps
from helpers.training.memory import Held
from helpers.runs import write_json

ROOT, WORK = Path(__file__).resolve().parent.parent, "work.json"      # where `helpers` is found; what the processes read
LOOPBACK = {"linux": "lo", "darwin": "lo0"}     # gloo would listen on the address of the computer's name, which others may reach; on Windows it takes no such name


def _load(folder):
    """The model as it was saved, in float32 on the processor."""
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return AutoModelForSeq2SeqLM.from_pretrained(folder / "model", dtype=torch.float32, local_files_only=True, use_safetensors=True)


def work(folder: Path, rank: int, processes: int):
    """What each process does: meets the others, works through the jobs in the folder, writes a report of each."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")      # of blocks that return a view: T5 changes none of them in place, and the gradients agree
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
            raise RuntimeError(f"process {rank} of {len(started)} ended with code {process.returncode}: " + said.read()[-1500:])
    if any(process.returncode for process, _ in started):
        raise RuntimeError(f"processes: ended with codes {[process.returncode for process, _ in started]}; there may be too little memory for so many copies of the model")


def _end(started):
    """Ends those that still run: after a failure of another one, or after Ctrl-C."""
    for process, _ in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def train_together(model, batches: Sequence[dict], jobs: Sequence[Job], processes: int = 2) -> dict[Job, list[Report]]:
    """Starts so many processes, which work through the jobs together, each from the same weights; the given model is left as it is.

    Returns:
        job -> the report of each process.
    Raises:
        ValueError: fewer rows in a batch than processes, or a job that no two processes can share.
        RuntimeError: one of them has failed; the message has the last of what it said.
    """
    fewest = min(len(batch["labels"]) for batch in batches)
    if fewest < processes or any(job.way == ALONE for job in jobs):
        raise ValueError(f"processes: {processes} for batches of {fewest} rows or more, ways {', '.join(job.way for job in jobs)}; "
                         f"each process needs a row, and {ALONE!r} is for `train_steps`")
    plain = [{name: values.tolist() for name, values in batch.items()} for batch in batches]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as files:
        folder = Path(name)
        model.save_pretrained(folder / "model", safe_serialization=True)
        write_json(folder / WORK, {"batches": plain, "jobs": [asdict(job) for job in jobs]})
        started, loopback = [], LOOPBACK.get(sys.platform)
        surroundings = os.environ | ({"GLOO_SOCKET_IFNAME": loopback} if loopback else {})
        try:
            for rank in range(processes):
                said = files.enter_context(open(folder / f"said-{rank}.txt", "w+", encoding="utf-8", errors="replace", newline="\n"))
                command = [sys.executable, "-m", "helpers.training.processes", str(folder), str(rank), str(processes)]
                started.append((subprocess.Popen(command, cwd=ROOT, env=surroundings, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT), said))
            _wait(started)
        finally:
            _end(started)
        found = [[json.loads((folder / f"{number}-{rank}.json").read_text(encoding="utf-8")) for rank in range(processes)] for number in range(len(jobs))]
    return {job: [Report(**report | {"held": Held(*report["held"])}) for report in reports] for job, reports in zip(jobs, found)}


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
