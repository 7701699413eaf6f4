"""The sweeps of fine-tuning: methods, steps, ranks, layers, rates, amounts of data and mixtures.

python -m sweeps.finetuning [--only NAME OF A SWEEP] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from helpers.data.loading import load_dialogues, load_tasks
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.evaluation.experiments import answered_exactly, by_part, clusters_of, run_condition
from helpers.models.loading import load_seq2seq
from helpers.settings import PROFILES, load_settings, seed_everything
from helpers.training.finetuning_methods import (
    ATTENTION,
    FEED_FORWARD,
    LINEAR,
    NORMS,
    Method,
    bottleneck,
    full,
    ia3,
    lora,
    prefix_tuning,
    prompt_tuning,
    selective,
)
from helpers.training.trainer import train
from sweeps import RESULTS, SEEDS, command_line, each_once

FOLDER, COMMAND = RESULTS / "finetuning", "python -m sweeps.finetuning"
USUAL_STEPS = PROFILES["pocket"]["train_steps"]
RANKS, AMOUNTS, STEPS = (1, 8, 64), (100, 300, 1000, 2500), (100, USUAL_STEPS, 600)
TARGETS = {"queries and values": ATTENTION, "feed-forward": FEED_FORWARD, "all linear": LINEAR}
SELECTED = {"cross-attention": selective(), "norms": selective(NORMS, 1e-2)}
METHODS = {
    "full": full(),
    "lora": lora(),
    "adapters": bottleneck(),
    **SELECTED,
    "ia3": ia3(),
    "prefix": prefix_tuning(),
    "prompt": prompt_tuning(),
}
GENTLE = {"full": full(1e-4), "lora": lora(learning_rate=1e-3)}  # rates below those that are best for summaries
# Of these rates each method takes the one with the lowest validation loss of the first seed.
RATES = {
    "full": (2e-4, 5e-4, 1e-3, 2e-3),
    "lora": (2e-3, 4e-3, 8e-3, 1.6e-2),
    "adapters": (2e-3, 5e-3, 1e-2, 2e-2),
    "cross-attention": (1e-3, 2e-3, 5e-3, 1e-2),
    "norms": (3e-3, 1e-2, 3e-2, 1e-1),
    "ia3": (1e-2, 3e-2, 0.1),
    "prefix": (1e-2, 3e-2, 0.1, 0.3),
    "prompt": (0.1, 0.3, 0.9),
}


@dataclass(frozen=True)
class Point:
    """One training run of a sweep: a method on so many training dialogues, other tasks mixed in or not, a seed, steps
    (None: the profile's).
    """

    method: Method
    rows: int = AMOUNTS[-1]
    mixed: bool = False
    seed: int = SEEDS[0]
    steps: int | None = None

    @property
    def name(self) -> str:
        """What its file is called."""
        parts, options = [self.method.kind], self.method.options
        if self.method.kind == "lora":
            parts += [
                f"r{options['r']}",
                *(["+".join(options["target_modules"])] if options["target_modules"] != list(LINEAR) else []),
            ]
        if self.method.kind == "selective":
            parts += ["+".join(options["targets"])]
        if self.method.kind == "bottleneck":
            parts += [f"w{options['width']}"]
        parts += [
            f"lr{self.method.learning_rate:g}",
            f"n{self.rows}",
            *(["mixed"] if self.mixed else []),
            *([f"{self.steps}steps"] if self.steps not in (None, USUAL_STEPS) else []),
        ]
        return "-".join([*parts, f"s{self.seed}"])


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points, all seeds of each; of the rates, the first seed alone."""
    chosen = {
        "methods": [Point(method) for method in METHODS.values()],
        "steps": [Point(METHODS[name], steps=steps) for name in ("full", "lora") for steps in STEPS],
        "ranks": [Point(lora(rank)) for rank in RANKS],
        "targets": [Point(lora(targets=targets)) for targets in TARGETS.values()],
        "amounts": [Point(full(), rows) for rows in AMOUNTS],
        "gentle": [Point(method) for method in GENTLE.values()],
        "mixtures": [Point(METHODS[name], mixed=True) for name in ("full", "lora")],
    }
    found = {name: [replace(point, seed=seed) for point in given for seed in SEEDS] for name, given in chosen.items()}
    rates = [Point(replace(METHODS[name], learning_rate=rate)) for name, tried in RATES.items() for rate in tried]
    return {"rates": rates} | found


def points() -> list[Point]:
    """The points of all sweeps, each once."""
    return each_once(sweeps().values())


def training_texts(
    train_rows: Sequence, tasks: Sequence, rows: int, mixed: bool, seed: int
) -> tuple[list[str], list[str]]:
    """(prompts, completions): summaries of `rows` dialogues drawn by the seed, smaller draws within larger ones.

    With `mixed` every summary is followed by one other task about the drawn dialogues (multi-task tuning).
    """
    rng = random.Random(f"amounts|{seed}")
    drawn = rng.sample(list(train_rows), len(train_rows))[:rows]
    prompts, completions = summary_pairs(drawn)
    if mixed:
        ids = {row["id"] for row in drawn}
        others = rng.sample(
            sorted((task for task in tasks if task["id"] in ids), key=lambda task: (task["id"], task["prompt"])),
            len(drawn),
        )
        prompts, completions = (
            prompts + [task["prompt"] for task in others],
            completions + [task["answer"] for task in others],
        )
    return prompts, completions


class Bench:
    """What all points share: the base model, the data, the test dialogues and the tasks about them."""

    def __init__(self, settings):
        self.settings = settings
        self.tokenizer, self.model = load_seq2seq(settings)
        data = load_dialogues(settings)
        parts = by_part(data["test"])
        self.part = next(iter(parts))
        self.train, self.validation = list(data["train"]), list(data["validation"])
        self.test = parts[self.part][: settings.test_rows]
        ids, tasks = {row["id"] for row in self.test}, list(load_tasks(settings))
        self.train_tasks = [task for task in tasks if task["part"] == "train"]
        self.test_tasks = [task for task in tasks if task["id"] in ids]

    def encode(self, prompts, completions):
        """The texts as pairs within this profile's limits."""
        return encode_pairs(
            prompts, completions, self.tokenizer, self.settings.max_prompt_tokens, self.settings.max_new_tokens
        )

    def scores(self, model, name="") -> dict:
        """ROUGE of each test dialogue and whether each task was answered exactly, as numbers that fit into a file."""
        outcome = run_condition(name, model, self.tokenizer, self.settings, self.test)
        return {
            "rouge": {
                metric: [round(float(value), 4) for value in outcome.per_dialogue(metric)]
                for metric in ("rouge1", "rougeL")
            },
            "answered": [
                int(value) for value in answered_exactly(self.test_tasks, model, self.tokenizer, self.settings)
            ],
        }

    def base(self) -> dict:
        """What is known before any training: the scores of the base model, and which tasks were answered."""
        scenarios = dict(zip([row["id"] for row in self.test], clusters_of(self.test)))
        return self.scores(self.model) | {
            "tasks": [{"id": task["id"], "task": task["task"]} for task in self.test_tasks],
            "clusters": list(scenarios.values()),
            "answered_clusters": [scenarios[task["id"]] for task in self.test_tasks],
        }

    def measure(self, point: Point, folder: Path) -> dict:
        """Trains one point and scores it; its weights are deleted afterwards."""
        settings = replace(self.settings, seed=point.seed)
        seed_everything(settings)
        pairs = self.encode(*training_texts(self.train, self.train_tasks, point.rows, point.mixed, point.seed))
        run = train(
            self.model,
            self.tokenizer,
            pairs,
            self.encode(*summary_pairs(self.validation[:100])),
            point.method,
            settings,
            folder,
            name=point.name,
            steps=point.steps,
        )
        found = {"point": asdict(point), "record": asdict(run.record)} | self.scores(run.model, point.name)
        shutil.rmtree(run.folder)
        return found


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(load_settings()), FOLDER)
