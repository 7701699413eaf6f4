"""The sweep of scaling: decoders of several sizes on several budgets of dialogues; a domain's model against a general
one.

python -m sweeps.scaling [--only grid|far|domain] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was. One thread, a quarter of an hour of it for
everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from helpers.transformer.language_models import Dialogues, Shape, byte_losses, sampled_text, train_decoder
from sweeps import RESULTS, Results, command_line, each_once

SEEDS = (1, 2, 3)
FOLDER, COMMAND = RESULTS / "scaling", "python -m sweeps.scaling"
SHAPES = (Shape(16, 1), Shape(16, 2), Shape(32, 1), Shape(32, 2), Shape(48, 2), Shape(64, 3), Shape(96, 3))
BUDGETS = (2**17, 2**18, 2**19, 2**20)  # bytes
FAR = (Shape(64, 2), 2**21)  # twice the longest budget: not fitted, but predicted
DOMAIN, SPECIALIST, LARGER, DOMAIN_BUDGET = "travel", Shape(48, 2), Shape(96, 3), 2**19
MIXED = "mixed"  # every other dialogue of the domain, the others of all domains
HELD_OUT = 120  # dialogues of each kind that losses are measured on


@dataclass(frozen=True)
class Point:
    """One training from nothing: how large, on how many bytes, of which dialogues ("all", a domain, or `MIXED`)."""

    shape: Shape
    budget: int
    domain: str = "all"
    seed: int = 1

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.domain}-w{self.shape.width}-l{self.shape.layers}-b{self.budget // 1024}k-s{self.seed}"


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points: sizes by budgets, each twice; one run beyond them; a domain's model, a mixed one,
    a general one, a larger general one.
    """
    grid = [Point(shape, budget, seed=seed) for seed in SEEDS[:2] for budget in BUDGETS for shape in SHAPES]
    rivals = ((SPECIALIST, DOMAIN), (SPECIALIST, MIXED), (SPECIALIST, "all"), (LARGER, "all"))
    return {
        "grid": grid,
        "far": [Point(*FAR)],
        "domain": [Point(shape, DOMAIN_BUDGET, domain, seed) for seed in SEEDS for shape, domain in rivals],
    }


def points() -> list[Point]:
    """The points of all sweeps."""
    return each_once(sweeps().values())


def held_out() -> dict[str, list[str]]:
    """Name of a part -> its dialogues: "all" domains, the one domain "inside", every other "outside"; drawn anew, for
    no training.
    """
    sources = {"all": Dialogues(), "inside": Dialogues(DOMAIN), "outside": Dialogues(without=DOMAIN)}
    return {part: source.some(HELD_OUT, f"held out, {part}") for part, source in sources.items()}


def training_texts(domain: str, seed: int) -> Iterator[str]:
    """Dialogues without end of a domain, of "all" domains, or in turn of both (`MIXED`)."""
    sources = {"all": (None,), MIXED: (DOMAIN, None)}.get(domain, (domain,))
    return chain.from_iterable(zip(*(Dialogues(each).draw(f"training {seed}") for each in sources)))


def train_point(point: Point):
    """The trained decoder of a point; a seed changes its first weights and its dialogues."""
    texts = training_texts(point.domain, point.seed)
    return train_decoder(point.shape, texts, point.budget, point.seed, point.name)


class Bench:
    """What all points share: the held-out dialogues."""

    def __init__(self):
        self.texts = held_out()

    def base(self) -> dict:
        """How many dialogues and bytes losses are measured on."""
        return {
            "dialogues": HELD_OUT,
            "bytes": {part: sum(len(text.encode()) for text in texts) for part, texts in self.texts.items()},
        }

    def measure(self, point: Point, _folder: Path) -> dict:
        """Trains, measures the loss of each held-out dialogue, and lets the model write; the weights are not kept."""
        start = time.process_time()
        model = train_point(point)
        return {
            "point": asdict(point),
            "parameters": point.shape.parameters,
            "seconds": round(time.process_time() - start, 1),
            "sample": sampled_text(model, point.seed),
            "loss": {part: np.round(byte_losses(model, texts), 4).tolist() for part, texts in self.texts.items()},
        }


@dataclass(frozen=True)
class Runs:
    """Finished trainings as columns, (R,) each: parameters, bytes, mean loss in nats a byte."""

    parameters: np.ndarray
    budgets: np.ndarray
    losses: np.ndarray


def runs_of(results: Results, chosen: Iterable[Point], embeddings: bool = True) -> Runs:
    """The columns of some points; without `embeddings` only the other parameters count.

    Raises:
        KeyError: a point was not measured; the message names the file and the command.
    """
    chosen = list(chosen)
    sizes = [results[point.name]["parameters"] - (0 if embeddings else point.shape.embeddings) for point in chosen]
    return Runs(
        np.array(sizes, dtype=float),
        np.array([point.budget for point in chosen], dtype=float),
        np.array([np.mean(results[point.name]["loss"]["all"]) for point in chosen]),
    )


def domain_losses(results: Results, shape: Shape, domain: str, part: str) -> np.ndarray:
    """(S, N) nats a byte of each held-out dialogue of a part, a row for each seed."""
    return np.array([results[Point(shape, DOMAIN_BUDGET, domain, seed).name]["loss"][part] for seed in SEEDS])


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(), FOLDER)
