"""The loop that all trainings of a policy share: step after step, watched, ended at a limit; stopped runs resume.

Checkpoints hold all that the next step depends on, in safetensors and JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file

from helpers.alignment.policy import Policy
from helpers.progress import Sparing, progress
from helpers.run_records import claimed, fingerprint, notes, resume_point, seal

KEPT = 2  # checkpoints: the newest, and the one before in case the newest was not written to its end


class AlignmentError(RuntimeError):
    """A run that cannot go on; the message says what was found and what to change."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Settings of any training of a policy. Checked when made: a ValueError names the field and the value.

    Attributes:
        learning_rate: of Adam; anneal_steps: over so many steps it falls to 0, linearly; None keeps it constant.
        kl_coef: β, the weight of the KL to the reference.
        max_grad_norm: gradients are scaled down to it; None leaves them.
        max_new_tokens: the longest completion.
        whole, not_negative, positive, positive_or_none: names of the fields by what they may be.
    """

    whole: ClassVar[tuple[str, ...]] = ("batch_size", "max_new_tokens")
    not_negative: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[tuple[str, ...]] = ("learning_rate",)
    positive_or_none: ClassVar[tuple[str, ...]] = ("anneal_steps", "max_grad_norm")

    batch_size: int
    kl_coef: float
    learning_rate: float = 5e-4
    anneal_steps: int | None = None
    max_grad_norm: float | None = 1.0
    max_new_tokens: int = 96

    def __post_init__(self):
        for name in self.whole:
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a whole number of at least 1")
        for name in self.not_negative:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a number of at least 0")
        for name in (*self.positive, *self.positive_or_none):
            value = getattr(self, name)
            if not ((value is None and name in self.positive_or_none) or (value is not None and 0 < value < math.inf)):
                raise ValueError(f"{name}: {value!r} is not a number above 0")


@dataclass
class Finished:
    """A finished or stopped run: the policy, one dict of numbers a step, and why it ended before its last step, if it
    did.
    """

    policy: Policy
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""


def checked_loss(loss: torch.Tensor, learning_rate: float, **parts: float) -> torch.Tensor:
    """The loss itself.

    Raises:
        AlignmentError: it is not finite; the message has its parts.
    """
    if not torch.isfinite(loss):
        listed = ", ".join(f"{name} {value}" for name, value in parts.items())
        raise AlignmentError(f"loss: {loss.item()} ({listed}); lower the learning rate, now {learning_rate:g}")
    return loss


def gradient_step(loss: torch.Tensor, optimizer, weights: Sequence, max_grad_norm: float | None) -> float:
    """One step of the optimizer along the loss. Returns the norm of the gradient before it was scaled down."""
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(weights, max_grad_norm or math.inf)
    optimizer.step()
    return norm.item()


class TrainingLoop(ABC):
    """Steps of one training, one after the other.

    Args:
        policy: changed in place. To go on where another process or cell was stopped, make the policy anew: a run is
            known by the weights it starts from.
        config: a `LoopConfig`.
        seed: of the order of the rows and of everything that is drawn.
        count: how many rows (prompts, pairs) there are to draw from.
        facts: what else decides the result, for the name of the run's folder.
        folder: where checkpoints are kept, in a folder of this very run; None keeps none.
    """

    name = "training"  # of the progress bar and of the run's folder
    shown: tuple[str, ...] = ()  # metrics beside the progress bar

    def __init__(self, policy: Policy, config, seed: int, count: int, facts: Mapping, optimizer, folder=None):
        self.policy, self.config, self.count, self.optimizer = policy, config, count, optimizer
        self.folder = None if folder is None else Path(folder) / f"{self.name}-{self._identity(seed, facts)}"
        self.generator = torch.Generator(policy.device).manual_seed(seed)
        self.order, self.queue, self.history = random.Random(f"{self.name}|{seed}"), [], []
        self.kl_coef = config.kl_coef

    def _identity(self, seed, facts):
        """Ten characters that change with everything that decides the result, except the number of steps."""
        known = {"config": asdict(self.config), "seed": seed, "policy": fingerprint(self.policy), **facts}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:10]

    @abstractmethod
    def step(self) -> dict[str, float]:
        """One step. Returns its metrics."""

    def limit(self, metrics: Mapping) -> str:
        """Why the run ends after a step with these metrics; empty where it goes on."""
        return ""

    def draw_rows(self, size: int) -> list[int]:
        """Indices of the next `size` rows: without repetition until all were used, then anew."""
        chosen = []
        while len(chosen) < size:
            if not self.queue:
                self.queue = self.order.sample(range(self.count), self.count)
            chosen.append(self.queue.pop())
        return chosen

    def run(
        self, steps: int, listener: Callable | None = None, save_every: int = 5, show_progress: bool = True
    ) -> Finished:
        """Goes on to `steps` steps in all, from the last whole checkpoint if there is one.

        Args:
            listener: called with the history, a list of dicts of metrics, after a step, and at the end; where it is
                slow, not after every step, so that it takes little of the time (`helpers.progress.Sparing`).
        Raises:
            AlignmentError: the loss or a score is not a number. KeyboardInterrupt: on Ctrl-C; the same call goes on
                from the last checkpoint, as does a new loop with a policy as it was before.
        """
        stopped, told = "", Sparing(listener)
        alone = nullcontext() if self.folder is None else claimed(self.folder)
        with alone, progress(total=steps, desc=self.name, unit="step", disable=not show_progress) as bar:
            self.resume()
            bar.update(len(self.history))
            bar.refresh()  # a loaded run shows all its steps
            while len(self.history) < steps and not stopped:
                self.history.append(metrics := self.step())
                bar.update(1)
                bar.set_postfix({name: f"{metrics[name]:.3f}" for name in self.shown}, refresh=False)
                told(self.history)
                stopped = self.limit(metrics)
                if self.folder is not None and (
                    len(self.history) % save_every == 0 or len(self.history) == steps or stopped
                ):
                    self.save_checkpoint()
            told.finish()
        return Finished(self.policy, self.history, stopped)

    def save_checkpoint(self):
        """Writes everything; the seal, written last, says that the checkpoint is whole. Older ones but one are
        deleted.
        """
        target = self.folder / f"checkpoint-{len(self.history)}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        tensors = {f"policy.{name}": weight.detach() for name, weight in self.policy.trained().items()}
        tensors |= _optimizer_tensors(self.optimizer) | {"generator": self.generator.get_state()}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, target / "state.safetensors")
        seal(target, history=self.history, kl_coef=self.kl_coef, queue=self.queue, order=self.order.getstate())
        for old in sorted(self.folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))[KEPT:]:
            shutil.rmtree(old)

    def resume(self):
        """Goes to the newest whole checkpoint, where there is one."""
        if self.folder is None or self.history:
            return
        checkpoint = resume_point(self.folder)
        if checkpoint is not None:
            tensors, kept = load_file(checkpoint / "state.safetensors"), notes(checkpoint)
            with torch.no_grad():
                for name, weight in self.policy.trained().items():
                    weight.copy_(tensors[f"policy.{name}"])
            state = self.optimizer.state_dict()
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, number, slot = name.split(".")
                    state["state"].setdefault(int(number), {})[slot] = tensor
            self.optimizer.load_state_dict(state)
            self.generator.set_state(tensors["generator"])
            version, numbers, gauss = kept["order"]
            self.order.setstate((version, tuple(numbers), gauss))
            self.history[:], self.kl_coef, self.queue = kept["history"], kept["kl_coef"], kept["queue"]


def _optimizer_tensors(optimizer):
    """ "optimizer.<number of the weight>.<slot>" -> tensor."""
    return {
        f"optimizer.{number}.{slot}": torch.as_tensor(value)
        for number, slots in optimizer.state_dict()["state"].items()
        for slot, value in slots.items()
    }
