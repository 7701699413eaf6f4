"""The sweep of the GPT from scratch: a dense decoder against mixtures of experts of equal computing, with a balanced
router and without.

python -m sweeps.gpt [--only rates|models] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was. One thread; a run takes about half a
minute of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from helpers.transformer.gpt import RATE, Decoder, optimizers, write
from helpers.transformer.language_models import Dialogues, Shape, byte_losses, fit
from helpers.transformer.mixture_of_experts import (
    BALANCE,
    balance_penalty,
    expert_counts,
    expert_mlp,
    expert_shares,
    mixtures,
    parameters_used,
)
from sweeps import RESULTS, SEEDS, command_line, each_once

FOLDER, COMMAND = RESULTS / "gpt", "python -m sweeps.gpt"
DOMAIN, SHAPE, BUDGET = "travel", Shape(64, 3), 300 * 1024  # of dialogues; bytes to train on
RATES = (RATE / 2, RATE, 2 * RATE)
VALIDATION, TEST = 24, 80  # dialogues to choose by, and to measure on


@dataclass(frozen=True)
class Point:
    """One training from nothing: dense, or with experts whose balance loss has this weight."""

    experts: bool = False
    balance: float = 0.0
    rate: float = RATE
    seed: int = SEEDS[0]

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{f'experts-b{self.balance:g}' if self.experts else 'dense'}-lr{self.rate:g}-s{self.seed}"


DENSE, BALANCED, UNBALANCED = Point(), Point(True, BALANCE), Point(True)


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points: rates by the first seed alone; the three models with every seed."""
    models = (DENSE, BALANCED, UNBALANCED)
    return {
        "rates": [Point(model.experts, model.balance, rate) for model in (DENSE, BALANCED) for rate in RATES],
        "models": [Point(model.experts, model.balance, seed=seed) for seed in SEEDS for model in models],
    }


def points() -> list[Point]:
    """The points of all sweeps."""
    return each_once(sweeps().values())


def held_out(count: int, name: str) -> tuple[list[str], list[str]]:
    """Dialogues of the domain that no training draws, and the scenario of each."""
    source, seed = Dialogues(DOMAIN), f"held out, {name}"
    return source.some(count, seed), [play.scenario for play in islice(source.plays(seed), count)]


def new_model(point: Point, shape: Shape = SHAPE) -> Decoder:
    """The untrained decoder of a point."""
    return Decoder(shape, expert_mlp if point.experts else None, seed=point.seed)


def train_point(point: Point, budget: int = BUDGET) -> tuple[Decoder, list[float]]:
    """The trained decoder of a point and its steps' losses; a seed changes its first weights and its dialogues."""
    model, texts = new_model(point), Dialogues(DOMAIN).draw(f"training {point.seed}")
    penalty = (lambda: balance_penalty(model, point.balance)) if point.balance else None
    return model, fit(model, texts, budget, optimizers(model, point.rate), penalty, point.name)


class Bench:
    """What all points share: the dialogues to choose by and to measure on."""

    def __init__(self, budget: int = BUDGET):
        self.budget = budget
        self.validation, _ = held_out(VALIDATION, "validation")
        self.test, self.clusters = held_out(TEST, "test")

    def base(self) -> dict:
        """Which scenario each measured dialogue is of, and how many bytes there are."""
        count = sum(len(text.encode()) for text in self.test)
        return {"clusters": self.clusters, "bytes": count, "budget": self.budget}

    def measure(self, point: Point, _folder: Path) -> dict:
        """Trains, and measures each held-out dialogue's loss; of experts also their shares. No weights are kept."""
        start = time.process_time()
        model, losses = train_point(point, self.budget)
        found = {
            "point": asdict(point),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "used": parameters_used(model),
            "seconds": round(time.process_time() - start, 1),
            "losses": np.round([part.mean() for part in np.array_split(losses, 20)], 3).tolist(),
            "validation": round(float(byte_losses(model, self.validation).mean()), 4),
            "loss": np.round(byte_losses(model, self.test), 4).tolist(),
            "written": write(model, 1, 300, seed=point.seed)[0],
        }
        return found | (routing_of(model, self.test) if mixtures(model) else {})


def routing_of(model: Decoder, texts: Sequence[str]) -> dict:
    """What the experts of a model take: "shares" (L, E) of all bytes, and "busiest" (N,), of each text the share that a
    layer's busiest expert computes, mean over the layers; the busiest one is that of all texts together.
    """
    counts = expert_counts(model, texts)
    shares, total = expert_shares(counts), expert_shares(counts.sum(0, keepdims=True))[0]
    busiest = np.take_along_axis(shares, total.argmax(-1)[None, :, None], -1)[..., 0].mean(1)
    return {"shares": np.round(total, 4).tolist(), "busiest": np.round(busiest, 4).tolist()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(), FOLDER)
