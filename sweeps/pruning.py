"""The sweep of pruning: every kind of zeros and of cuts, with and without recovery by LoRA and by full retraining.

python -m sweeps.pruning [--only cuts|recovery] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was. Everything starts from lab 2's fully
fine-tuned model, which is loaded from labs/runs where that lab has left it there, and trained first where it has not.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from helpers.compression.pruning import input_norms, pruned, two_of_four, wanda, zeros
from helpers.compression.structured_pruning import gradient_importance, magnitudes, smaller
from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.evaluation.experiments import by_part, clusters_of, run_condition
from helpers.evaluation.losses import pair_losses
from helpers.models.loading import load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.run_records import KEPT, fingerprint
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import full, lora, sparse
from helpers.training.trainer import train
from sweeps import RESULTS, SEEDS, command_line, each_once

FOLDER, COMMAND = RESULTS / "pruning", "python -m sweeps.pruning"
SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
STRUCTURED = (
    ("neurons", 0.5),
    ("neurons gradient", 0.25),
    ("neurons gradient", 0.5),
    ("neurons gradient", 0.75),
    ("heads gradient", 0.25),
    ("heads gradient", 0.5),
)
CALIBRATION, ROWS, STEPS = (
    64,
    100,
    40,
    # Training pairs that are looked at; test dialogues; steps of recovery, between a seventh and an eighth of the
    # fine-tuning's.
)
KINDS = ("dense", "layer", "global", "wanda", "2:4", "2:4 wanda", "neurons", "neurons gradient", "heads gradient")
RECOVERED = (("dense", 0.0), ("layer", 0.7), ("neurons gradient", 0.5))
METHODS = {"none": None, "lora": lora(), "full": sparse()}


@dataclass(frozen=True)
class Point:
    """One pruned model: what was cut ("layer": the smallest weights of each layer …), how much, and how it was trained
    afterwards.
    """

    kind: str
    share: float
    recovery: str = "none"
    seed: int = 0

    @property
    def trained(self) -> bool:
        """Whether a training, which has a seed, followed the cut."""
        return self.recovery != "none"

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.kind.replace(' ', '-').replace(':', 'of')}-{self.share:g}-{self.recovery}" + (
            f"-s{self.seed}" if self.seed else ""
        )


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points: cuts alone, which need no seed, and those that are trained afterwards, seed after
    seed.
    """
    cuts = [Point("dense", 0.0)] + [Point(kind, share) for share in SPARSITIES for kind in ("layer", "global", "wanda")]
    cuts += [Point(kind, 0.5) for kind in ("2:4", "2:4 wanda")] + [Point(kind, share) for kind, share in STRUCTURED]
    return {
        "cuts": cuts,
        "recovery": [
            Point(kind, share, method, seed)
            for seed in SEEDS
            for kind, share in RECOVERED
            for method in ("full", "lora")
        ],
    }


def points() -> list[Point]:
    """The points of both sweeps."""
    return each_once(sweeps().values())


class Bench:
    """What all points share: the fine-tuned model, what its parts are worth, the data."""

    def __init__(self, settings, runs: Path = KEPT):
        self.settings, data = settings, load_dialogues(settings)
        self.tokenizer, base = load_seq2seq(settings)
        self.rows = next(iter(by_part(data["test"]).values()))[: min(ROWS, settings.test_rows)]
        self.pairs, self.validation, self.held_out = (
            self._encode(rows) for rows in (data["train"], list(data["validation"])[:100], self.rows)
        )
        self.model = train(base, self.tokenizer, self.pairs, self.validation, full(), settings, runs, name="full").model
        self.calibration = self.pairs.select(range(min(CALIBRATION, len(self.pairs))))
        self.norms = input_norms(self.model, self.tokenizer, self.calibration)
        self.importance = {
            "": magnitudes(self.model),
            "gradient": gradient_importance(self.model, self.tokenizer, self.calibration),
        }

    def _encode(self, rows):
        return encode_pairs(
            *summary_pairs(list(rows)), self.tokenizer, self.settings.max_prompt_tokens, self.settings.max_new_tokens
        )

    def cut(self, kind: str, share: float):
        """The fine-tuned model without what a point takes away.

        Raises:
            ValueError: a kind that is not in `KINDS`.
        """
        part, _, by = kind.partition(" ")
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
        if part in ("neurons", "heads"):
            return smaller(self.model, self.importance[by], **{part: share})
        if part == "wanda" or by == "wanda":
            return wanda(self.model, self.norms, share, fours=part == "2:4")
        if part == "2:4":
            return two_of_four(self.model)
        return self.model if part == "dense" else pruned(self.model, share, part)

    def scores(self, model, name: str) -> dict:
        """ROUGE and loss of each test dialogue, zeros and parameters, as numbers that fit into a file."""
        outcome = run_condition(name, model, self.tokenizer, self.settings, self.rows)
        return {
            "rouge": {metric: np.round(outcome.per_dialogue(metric), 4).tolist() for metric in ("rouge1", "rougeL")},
            "loss": np.round(pair_losses(model, self.tokenizer, self.held_out).astype(float), 4).tolist(),
        }

    def base(self) -> dict:
        """Which model everything starts from, and which dialogues it is measured on."""
        return {
            "start": fingerprint(self.model),
            "ids": [row["id"] for row in self.rows],
            "clusters": clusters_of(self.rows),
            "calibration": len(self.calibration),
        }

    def measure(self, point: Point, folder: Path) -> dict:
        """Cuts, trains if the point says so, and scores; weights are deleted afterwards."""
        settings = replace(self.settings, seed=point.seed or self.settings.seed)
        seed_everything(settings)
        model = self.cut(point.kind, point.share)
        found = {"point": asdict(point), "zeros": round(zeros(model), 4), "parameters": count_parameters(model).total}
        if method := METHODS[point.recovery]:
            run = train(
                model,
                self.tokenizer,
                self.pairs,
                self.validation,
                method,
                settings,
                folder,
                name=point.name,
                steps=STEPS,
                evaluations=1,
            )
            shutil.rmtree(run.folder)
            model = (
                run.model.merge_and_unload() if point.recovery == "lora" else run.model
            )  # computes the same as beside the base
            found |= {"record": asdict(run.record), "zeros after": round(zeros(model), 4)}
        return found | self.scores(model, point.name)


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(load_settings("pocket")), FOLDER)
