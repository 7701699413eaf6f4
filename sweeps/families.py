"""The sweep of the three families: each pre-trained on the same excerpts for the same steps, then asked to do what the
others are made for.

python -m sweeps.families [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was. One thread, so that it takes the same time
and gives the same numbers beside other work; a run takes one to two minutes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from helpers.data.loading import load_dialogues
from helpers.evaluation.experiments import by_part, clusters_of
from helpers.models.loading import load_tokenizer
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from helpers.transformer.families import (
    FamilyModel,
    continuation_examples,
    gap_examples,
    greedy,
    mean_losses,
    pretrain,
    probe,
    states_of,
    turn_questions,
)
from helpers.transformer.objectives import FAMILIES, SENTINEL, excerpt
from sweeps import RESULTS, Results, command_line

SEEDS = (1, 2, 3)
FOLDER, COMMAND = RESULTS / "families", "python -m sweeps.families"
TOPICS, STEPS, LENGTH, SENTINELS = (
    16,
    800,
    64,
    16,
)  # scenarios; steps of training; tokens of an excerpt; sentinels of the tokenizer
GAPS, GAP, SHORT, CONTINUED = (
    4,
    3,
    16,
    8,
)  # gaps an excerpt; tokens of a gap; tokens of a short excerpt; tokens of a continuation
# Steps after which a decoder has learned from as many labels as an encoder has after all its steps: 15% of them.
ALIKE = 120
TASKS = ("gap of 1", "gap of 1, left side", f"gap of {GAP}", "continuation")
PROBES = ("topic", "question")


@dataclass(frozen=True)
class Point:
    """One family, trained with one seed, for all steps or fewer."""

    family: str
    seed: int = SEEDS[0]
    steps: int = STEPS

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.family}-s{self.seed}" + (f"-{self.steps}-steps" if self.steps != STEPS else "")


def points() -> list[Point]:
    """Every family with every seed; and a decoder that stops when it has learned from as many labels as an encoder."""
    return [Point(family, seed) for seed in SEEDS for family in FAMILIES] + [
        Point("decoder-only", seed, ALIKE) for seed in SEEDS
    ]


class Bench:
    """What all points share: the dialogues of some scenarios as token ids, and the tasks on held-out ones."""

    def __init__(self, settings):
        torch.set_num_threads(1)
        data, self.tokenizer = load_dialogues(settings), load_tokenizer(settings)
        topics = sorted(set(data["train"]["topic"]))
        topics = set(topics[:: max(1, len(topics) // TOPICS)][:TOPICS])
        held_out = [*data["validation"], *next(iter(by_part(data["test"]).values()))]
        self.train, self.held_out = (
            [row for row in rows if row["topic"] in topics] for rows in (data["train"], held_out)
        )
        self.ids, self.held_ids = (self._encode(rows) for rows in (self.train, self.held_out))
        self.sentinels = self.tokenizer.convert_tokens_to_ids([SENTINEL.format(number) for number in range(SENTINELS)])
        rng = np.random.default_rng(0)
        self.excerpts = [excerpt(ids, LENGTH, rng) for ids in self.held_ids]
        self.starts = [rng.integers(LENGTH // 8, len(ids) - LENGTH // 8 - GAP, GAPS).tolist() for ids in self.excerpts]
        self.short = [[excerpt(ids, SHORT, rng) for ids in rows] for rows in (self.ids, self.held_ids)]
        self.known = [excerpt(ids, LENGTH, rng) for ids in self.ids]
        pieces = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        self.tags = {number for number, piece in enumerate(pieces) if piece.startswith("\n#Person")}
        self.question_marks = {number for number, piece in enumerate(pieces) if "?" in piece}

    def _encode(self, rows):
        return self.tokenizer([row["dialogue"] for row in rows], add_special_tokens=False)["input_ids"]

    def base(self) -> dict:
        """Which dialogues were held out, what they are alike in, and how much text there was to learn from."""
        return {
            "ids": [row["id"] for row in self.held_out],
            "clusters": clusters_of(self.held_out),
            "dialogues": len(self.train),
            "tokens": sum(map(len, self.ids)),
        }

    def _turns(self, texts):
        return [
            (number, place, asks)
            for number, ids in enumerate(texts)
            for place, asks in turn_questions(ids, self.tags, self.question_marks)
        ]

    def _probes(self, model):
        """Probe -> rows of (held-out dialogue, whether the probe was right there), and how often the commonest answer
        is.
        """
        pooled = [np.array([states.mean(0) for states in states_of(model, texts)]) for texts in self.short]
        topics = [[row["topic"] for row in rows] for rows in (self.train, self.held_out)]
        turns = [self._turns(texts) for texts in (self.known, self.excerpts)]
        states = [states_of(model, texts) for texts in (self.known, self.excerpts)]
        first = [
            np.array([all_states[number][place] for number, place, _ in some])
            for all_states, some in zip(states, turns)
        ]
        asks = [[asks for _, _, asks in some] for some in turns]
        return {
            "topic": [
                list(range(len(self.held_out))),
                probe(pooled[0], topics[0], pooled[1], topics[1]).astype(int).tolist(),
            ],
            "question": [
                [number for number, _, _ in turns[1]],
                probe(first[0], asks[0], first[1], asks[1]).astype(int).tolist(),
            ],
            "commonest": {"topic": _commonest(topics[1]), "question": _commonest(asks[1])},
        }

    def measure(self, point: Point, folder: Path | None = None) -> dict:
        """Trains one family and gives it all tasks; what it has written about the first excerpts is kept as well."""
        model = FamilyModel(point.family, len(self.tokenizer), seed=point.seed)
        started = time.process_time()
        losses = pretrain(
            model,
            self.ids,
            self.sentinels,
            steps=point.steps,
            length=LENGTH,
            seed=point.seed,
            batch_size=16,
            learning_rate=3e-3,
        )
        seconds = time.process_time() - started
        tasks = {
            f"gap of {size}": [
                [
                    example
                    for start in starts
                    for example in gap_examples(point.family, ids, start, size, self.sentinels)
                ]
                for ids, starts in zip(self.excerpts, self.starts)
            ]
            for size in (1, GAP)
        }
        tasks["gap of 1, left side"] = [
            [
                example
                for start in starts
                for example in continuation_examples(point.family, ids, start, 1, self.sentinels)
            ]
            for ids, starts in zip(self.excerpts, self.starts)
        ]
        tasks["continuation"] = [
            continuation_examples(point.family, ids, len(ids) - CONTINUED, CONTINUED, self.sentinels)
            for ids in self.excerpts
        ]
        return {
            "point": asdict(point),
            "parameters": sum(weights.numel() for weights in model.parameters()),
            "seconds": round(seconds, 1),
            "passes": {name: sum(map(len, examples)) / len(examples) for name, examples in tasks.items()},
            "losses": np.round(np.mean(np.reshape(losses, (20, -1)), axis=1), 3).tolist(),
            "tasks": {name: np.round(mean_losses(model, tasks[name]), 4).tolist() for name in TASKS},
            "probes": self._probes(model),
            "written": self._written(model),
            "weights": fingerprint(model),
        }

    def _written(self, model, count: int = 3) -> list[dict]:
        """A filled gap and a continuation of the first excerpts, as texts."""
        found, decode = [], self.tokenizer.decode
        for ids, (start, *_) in list(zip(self.excerpts, self.starts))[:count]:
            end = len(ids) - CONTINUED
            found.append(
                {
                    "before": decode(ids[:start]),
                    "gap": decode(ids[start : start + GAP]),
                    "after": decode(ids[start + GAP :]),
                    "filled": decode(greedy(model, ids, start, GAP, self.sentinels)),
                    "text": decode(ids[:end]),
                    "next": decode(ids[end:]),
                    "continued": decode(greedy(model, ids, end, CONTINUED, self.sentinels, continuation_examples)),
                }
            )
        return found


def _commonest(labels):
    return max(labels.count(label) for label in set(labels)) / len(labels)


def probed(results: Results, family: str, label: str) -> tuple[np.ndarray, list[int]]:
    """((N,) how often a probe was right about each label, mean over the seeds; N numbers of the dialogues)."""
    found = [results[Point(family, seed).name]["probes"][label] for seed in SEEDS]
    return np.mean([right for _, right in found], axis=0), found[0][0]


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], {"families": points()}, lambda _: Bench(load_settings("pocket")), FOLDER)
