"""The sweeps of distillation: losses, temperatures, mixtures, texts, few references and rates, for a summarizer and for
a classifier.

python -m sweeps.distillation [--only losses|temperatures|mixtures|texts|few|long|endless|rates|classifiers]
[--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from helpers.compression.classifier import (
    Classifier,
    class_logits,
    classes_of,
    labelled,
    smaller_classifier,
    train_classifier,
)
from helpers.compression.distillation import half_of, remembering, student_of
from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.data.prompts import build_prompt
from helpers.evaluation.experiments import by_part, clusters_of, run_condition
from helpers.evaluation.losses import pair_losses
from helpers.models.generation import generate
from helpers.models.loading import load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.run_records import KEPT, fingerprint
from helpers.settings import PROFILES, load_settings, seed_everything
from helpers.training.finetuning_methods import Method, distilled, full
from helpers.training.trainer import train
from helpers.transformer.language_models import Dialogues
from sweeps import RESULTS, SEEDS, command_line, each_once

FOLDER, COMMAND = RESULTS / "distillation", "python -m sweeps.distillation"
TEMPERATURES, MIXTURES = (1.0, 2.0, 4.0), (0.0, 0.5, 1.0)
RATES, CLASS_RATES = (1e-3, 2e-3, 4e-3), (2e-3, 4e-3, 8e-3, 1.6e-2)
# Where a sweep does not vary them. Rate and temperature are those of the lowest validation loss of the first seed.
ALPHA, TEMPERATURE, RATE = 0.5, 1.0, 2e-3
MOST, FEW = 2500, 300  # training dialogues
STEPS, LONG, LONGEST = 200, 600, 1800  # of every student, and of those that are trained longer
PAUSE, BATCH = 100, PROFILES["pocket"]["batch_size"]  # steps between validations; dialogues in a step
ENDLESS_SEEDS = SEEDS[:3]  # of students that are trained longest, or on endless dialogues
CLASS_TEACHER = {"steps": 200, "learning_rate": 2e-3}
CLASS_STEPS, CLASS_BATCH, CLASS_TEMPERATURE, CLASS_RATE = 100, 16, 2.0, 8e-3  # of its students; the rate as above


@dataclass(frozen=True)
class Point:
    """One student that summarizes.

    Attributes:
        method: `full` (no soft labels) or `distilled`. rows: training dialogues.
        texts: what its hard labels are: "references", the "teacher"'s own summaries (sequence-level), or its summaries
            of "endless" dialogues, which are drawn anew from the data set's scenarios and have no references.
        steps: of its training.
    """

    method: Method
    seed: int = SEEDS[0]
    rows: int = MOST
    texts: str = "references"
    steps: int = STEPS

    @property
    def name(self) -> str:
        """What its file is called."""
        options = self.method.options
        mixture = f"-a{options['alpha']:g}-t{options['temperature']:g}" if options else ""
        length = f"-k{self.steps}" if self.steps != STEPS else ""
        rate = f"lr{self.method.learning_rate:g}"
        return f"{self.method.kind}{mixture}-{rate}-{self.texts}-n{self.rows}{length}-s{self.seed}"


@dataclass(frozen=True)
class ClassifierPoint:
    """One student that classifies; alpha 0 is the one without a teacher."""

    alpha: float
    seed: int
    rows: int
    temperature: float = CLASS_TEMPERATURE
    rate: float = CLASS_RATE

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"classifier-a{self.alpha:g}-t{self.temperature:g}-lr{self.rate:g}-n{self.rows}-s{self.seed}"


def student(alpha: float, temperature: float = TEMPERATURE, rate: float = RATE) -> Method:
    """The method with this share of soft labels; with none the ordinary fine-tuning."""
    return distilled(alpha, temperature, rate) if alpha else full(rate)


def sweeps() -> dict[str, list]:
    """Name of a sweep -> its points, all seeds of each, of "endless" the first ones; the rates, compared by the
    validation loss, are those of students without a teacher, with the first seed alone.
    """
    chosen = {
        "losses": [(student(alpha), MOST, "references") for alpha in (0, ALPHA)],
        "temperatures": [
            (student(0), MOST, "references"),
            *((student(ALPHA, temperature), MOST, "references") for temperature in TEMPERATURES),
        ],
        "mixtures": [(student(alpha), MOST, "references") for alpha in MIXTURES],
        "texts": [(student(0), MOST, "teacher")],
        "few": [(student(alpha), FEW, "references") for alpha in (0, ALPHA)],
        "long": [
            (student(0), MOST, "references", LONG),
            (student(ALPHA), MOST, "references", LONG),
            (student(0), MOST, "teacher", LONG),
        ],
    }
    found = {
        name: [Point(method, seed, *rest) for seed in SEEDS for method, *rest in points]
        for name, points in chosen.items()
    }
    # No endless dialogue comes twice: there are as many as the steps take.
    found["endless"] = [
        Point(student(0), seed, *rest)
        for seed in ENDLESS_SEEDS
        for rest in [
            *((steps * BATCH, "endless", steps) for steps in (STEPS, LONG, LONGEST)),
            *((MOST, texts, LONGEST) for texts in ("references", "teacher")),
        ]
    ]
    found["rates"] = [Point(full(rate), SEEDS[0]) for rate in RATES]
    found["classifiers"] = [ClassifierPoint(0.0, SEEDS[0], FEW, rate=rate) for rate in CLASS_RATES]
    found["classifiers"] += [
        ClassifierPoint(alpha, seed, rows) for rows in (FEW, MOST) for seed in SEEDS for alpha in (0.0, ALPHA)
    ]
    return found


def points() -> list:
    """The points of all sweeps, each once."""
    return each_once(sweeps().values())


class Bench:
    """What all points share: the teachers, the students' starts, the data and the test dialogues."""

    def __init__(self, settings, kept: Path = KEPT):
        self.settings = settings
        self.tokenizer, base = load_seq2seq(settings)
        data = load_dialogues(settings)
        self.train = list(data["train"])
        self.test = next(iter(by_part(data["test"]).values()))[: settings.test_rows]
        self.validation_rows = list(data["validation"])[:100]
        self.validation = self.encode(*summary_pairs(self.validation_rows))
        self.teacher = train(
            base,
            self.tokenizer,
            self.encode(*summary_pairs(self.train)),
            self.validation,
            full(),
            settings,
            kept,
            name="full",
        ).model
        self.student = student_of(self.teacher, *half_of(self.teacher))
        self.classes, self._answers = classes_of(self.train), {}

    def encode(self, prompts, completions):
        """The texts as pairs within this profile's limits."""
        return encode_pairs(
            prompts, completions, self.tokenizer, self.settings.max_prompt_tokens, self.settings.max_new_tokens
        )

    def scores(self, model, name="") -> dict:
        """ROUGE of each test dialogue and the loss on its first reference, in nats a token."""
        outcome = run_condition(name, model, self.tokenizer, self.settings, self.test)
        losses = pair_losses(model, self.tokenizer, self.encode(*summary_pairs(self.test)))
        return {
            "rouge": {metric: np.round(outcome.per_dialogue(metric), 4).tolist() for metric in ("rouge1", "rougeL")},
            "losses": np.round(losses.astype(float), 5).tolist(),
        }

    def base(self) -> dict:
        """The teacher: its weights, size and scores; the student's size; the classes, and the teacher of the
        classifiers.
        """
        return self.scores(self.teacher) | {
            "teacher": fingerprint(self.teacher),
            "parameters": count_parameters(self.teacher).total,
            "student_parameters": count_parameters(self.student).total,
            "clusters": clusters_of(self.test),
            "classes": list(self.classes.names),
            "classifier": self.class_scores(self.class_teacher),
        }

    def completions(self, point) -> tuple[list[str], list[str]]:
        """(prompts, completions) of a point: its dialogues drawn by the seed, smaller draws within larger ones, with
        references or the teacher's greedy summaries; "endless" ones are drawn from the scenarios.
        """
        if point.texts == "endless":
            plays = islice(Dialogues().plays(f"distillation|{point.seed}"), point.rows)
            prompts = [build_prompt(play.dialogue()) for play in plays]
            return prompts, self.written(prompts)
        drawn = random.Random(f"amounts|{point.seed}").sample(self.train, len(self.train))[: point.rows]
        prompts, references = summary_pairs(drawn)
        if point.texts == "references":
            return prompts, references
        known = dict(zip(summary_pairs(self.train)[0], self.teacher_texts))
        return prompts, [known[prompt] for prompt in prompts]

    @cached_property
    def teacher_texts(self) -> list[str]:
        """The teacher's greedy summary of each training dialogue."""
        return self.written(summary_pairs(self.train)[0])

    def written(self, prompts) -> list[str]:
        """The teacher's greedy completions."""
        return generate(
            self.teacher,
            self.tokenizer,
            prompts,
            max_new_tokens=self.settings.max_new_tokens - 1,
            batch_size=self.settings.generation_batch_size,
        )

    def answers(self, texts: str):
        """The teacher, with what it says about all training dialogues with these texts kept."""
        if texts not in self._answers:
            pairs = self.encode(*self.completions(Point(full(), SEEDS[0], len(self.train), texts)))
            self._answers[texts] = remembering(self.teacher, self.tokenizer, pairs)
        return self._answers[texts]

    @cached_property
    def class_teacher(self) -> Classifier:
        """The classifier on the whole encoder of the fine-tuned model, trained on all dialogues."""
        return train_classifier(
            Classifier(self.teacher.encoder, len(self.classes.names)),
            *self.labelled(self.train),
            seed=self.settings.seed,
            **CLASS_TEACHER,
        )

    def labelled(self, rows):
        """(token ids, numbers of the classes) of those rows that have a class."""
        return labelled(rows, self.classes, self.tokenizer, self.settings.max_prompt_tokens)

    def class_scores(self, model) -> dict:
        """Of each test dialogue whether its class is found, and the loss in nats."""
        texts, labels = self.labelled(self.test)
        right = class_logits(model, texts).argmax(-1) == torch.tensor(labels)
        return {
            "right": right.int().tolist(),
            "losses": np.round(self.class_loss(model, self.test).double().numpy(), 5).tolist(),
            "parameters": count_parameters(model).total,
        }

    def class_loss(self, model, rows) -> torch.Tensor:
        """(N,) the loss of each dialogue that has a class, in nats."""
        texts, labels = self.labelled(rows)
        return cross_entropy(class_logits(model, texts), torch.tensor(labels), reduction="none")

    def measure(self, point, folder: Path) -> dict:
        """Trains one point and scores it; its weights are deleted afterwards."""
        if isinstance(point, ClassifierPoint):
            model = self.small_classifier(point)
            return {
                "point": asdict(point),
                "validation_loss": self.class_loss(model, self.validation_rows).mean().item(),
            } | self.class_scores(model)
        settings = replace(self.settings, seed=point.seed)
        seed_everything(settings)
        run = train(
            self.student,
            self.tokenizer,
            self.encode(*self.completions(point)),
            self.validation,
            point.method,
            settings,
            folder,
            name=point.name,
            steps=point.steps,
            evaluations=point.steps // PAUSE,
            teacher=self.answers(point.texts) if point.method.kind == "distilled" else None,
        )
        found = {"point": asdict(point), "record": asdict(run.record)} | self.scores(run.model, point.name)
        shutil.rmtree(run.folder)
        return found

    def small_classifier(self, point: ClassifierPoint) -> Classifier:
        """A trained student of the classifiers' teacher: the same start, dialogues and steps with a teacher and
        without.
        """
        start = smaller_classifier(self.class_teacher, len(self.student.encoder.block))
        drawn = random.Random(f"amounts|{point.seed}").sample(self.train, len(self.train))[: point.rows]
        return train_classifier(
            start,
            *self.labelled(drawn),
            seed=point.seed,
            teacher=self.class_teacher if point.alpha else None,
            alpha=point.alpha,
            temperature=point.temperature,
            steps=CLASS_STEPS,
            batch_size=CLASS_BATCH,
            learning_rate=point.rate,
        )


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(load_settings()), FOLDER)
