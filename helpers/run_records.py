"""Runs: what a training run was, cost and reached, kept beside its weights; and which of its checkpoints are whole."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)
KIT = Path(__file__).resolve().parent.parent
# What labs train and keep: where LAB_RUNS says; else in the kit's folder wherever a notebook was started; where the kit
# is an installed package, beside the notebook.
RUNS = Path(
    os.environ.get("LAB_RUNS") or (KIT / "labs" if (KIT / "kit.py").is_file() else Path.cwd()) / "runs"
).absolute()
KEPT = RUNS / "kept"  # what is finished, lab 2's fine-tuned model among it; "again" beside it is what `retrain` trains
RECORD, SEAL, CLAIM = "record.json", "seal.json", "claim.lock"


class TrainingError(RuntimeError):
    """A run that cannot go on or cannot be used; the message says what was found and what to change."""


@dataclass(frozen=True)
class Record:
    """One finished training run.

    Attributes:
        name, method: what was trained; the method with its learning rate and options.
        base: `fingerprint` of the model it started from.
        settings: everything else that decides the result: steps, batch size, seed, data, versions.
        trainable, total: parameters, the adapter's included.
        optimizer_bytes, gradient_bytes: measured in the run; what training needs beside weights and activations.
        peak_memory_bytes: the most that the process (on a GPU: torch) held above what it held before.
        file_bytes: of the weights that were written: the whole model, or the adapter alone.
        seconds: of training and validation; tokens: of prompts and completions seen in training, without padding.
        losses, validation_losses: [[step, nats per token]]; best_step: whose weights were kept.
        stopped_early: whether validation ended the run before its last step.
        machine: processor or GPU, and threads.
    """

    name: str
    method: dict
    base: str
    settings: dict
    trainable: int
    total: int
    optimizer_bytes: int
    gradient_bytes: int
    peak_memory_bytes: int
    file_bytes: int
    seconds: float
    tokens: int
    losses: list
    validation_losses: list
    best_step: int
    stopped_early: bool
    machine: str

    @property
    def tokens_per_second(self) -> float:
        """Without padding; validation counts as time, not as tokens."""
        return self.tokens / self.seconds

    def save(self, folder: Path):
        """Writes record.json, whole or not at all: its presence says that the run is finished."""
        write_json(folder / RECORD, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Record:
        """The record of a finished run.

        Raises:
            ValueError: the file cannot be read as a record; it is named.
        """
        path = folder / RECORD
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: is no record of a training run ({error}); delete the folder to train again"
            ) from error


def write_json(path: Path, value):
    """Writes through a second file of this process, so that an interruption leaves the old one or the new one, never
    half of one.
    """
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=1), encoding="utf-8", newline="\n")
    partial.replace(path)


def make_folder(folder: Path) -> Path:
    """The folder, made with those above it where it is not there yet, and found to be writable.

    Raises:
        PermissionError: it cannot be made or written; the message says how to choose another one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:  # a disk that is mounted to be read only has an error of its own
        raise _unwritable(folder, error) from error
    return folder


def _unwritable(folder, error):
    return PermissionError(
        f"{folder}: cannot be written ({error.strerror or error}); "
        "set LAB_RUNS to a folder in which trainings can be kept"
    )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Inside, no other process works on the run in this folder: it waits until this one has ended, or has died.

    The system ends the claim of a process that has died, so that none is left behind.

    Raises:
        PermissionError: the folder cannot be written; the message says how to choose another one.
    """
    lock = FileLock(make_folder(folder) / CLAIM)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder.name}: another process is at this run; waiting until it has ended", file=sys.stderr)
        held = lock.acquire(poll_interval=0.5)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with held:
        yield


def fingerprint(model) -> str:
    """SHA-256 of all weights and their names: equal for equal models, whatever file or device they are on."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name}|{weight.dtype}|{tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def fingerprint_pairs(pairs) -> str:
    """SHA-256 of the token ids of encoded pairs, in their order."""
    return hashlib.sha256(json.dumps([list(pairs["input_ids"]), list(pairs["labels"])]).encode()).hexdigest()


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)


def seal(folder: Path, **notes):
    """Marks a checkpoint as written to its end: sizes and hashes of its files, and the notes that a resumed run
    needs.
    """
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in _files(folder)
    }
    write_json(folder / SEAL, {"files": files, **notes})


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if it is whole."""
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "was not written to its end"
    for name, (size, digest) in files.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            return f"{name} has {found:,} of {size:,} bytes"
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return f"{name} has changed since it was written"
    return None


def resume_point(folder: Path, fault: Callable[[Path], str | None] = fault) -> Path | None:
    """The newest checkpoint in a run's folder that is whole; None if there is none.

    Newer ones are deleted, and a warning says why: the resumed run writes them again, and until then they would count
    among the few checkpoints that a run keeps.

    Args:
        fault: what is wrong with a checkpoint, or None; another function may ask for more than whole files.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        wrong = fault(path)
        if wrong is None:
            return path
        logger.warning("%s is skipped and deleted: %s", path, wrong)
        shutil.rmtree(path)
    return None


def notes(checkpoint: Path) -> dict:
    """What `seal` was given besides the files."""
    return {
        name: value
        for name, value in json.loads((checkpoint / SEAL).read_text(encoding="utf-8")).items()
        if name != "files"
    }
