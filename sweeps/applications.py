"""The sweep of word problems: one model taught three ways of solving them, for as many steps each.

python -m sweeps.applications [--only ways] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.applications.symbols import with_fresh_vectors
from helpers.applications.word_problems import LARGE, SMALL, WAYS, Problem, make_problems, problem_prompt, solved_value
from helpers.data.pairs import encode_pairs
from helpers.models.generation import generate
from helpers.models.loading import load_seq2seq
from helpers.run_records import fingerprint
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import full
from helpers.training.trainer import train
from sweeps import RESULTS, command_line

FOLDER, COMMAND = RESULTS / "applications", "python -m sweeps.applications"
STEPS, BATCH, RATE, HELD_OUT = (
    1600,
    16,
    1e-3,
    150,
)  # HELD_OUT problems in the range of the training, and as many with larger numbers


@dataclass(frozen=True)
class Point:
    """One training: the way of solving that it teaches."""

    way: str

    @property
    def name(self) -> str:
        """What its file is called."""
        return self.way


def points() -> list[Point]:
    """A point for each way."""
    return [Point(way) for way in WAYS]


def pairs_of(problems: list[Problem], way: str) -> tuple[list[str], list[str]]:
    """(prompts, completions) that teach one way."""
    return [problem_prompt(problem, way) for problem in problems], [problem.completion(way) for problem in problems]


class Bench:
    """What all points share: the model, the problems to learn from, and the held-out ones of both ranges."""

    def __init__(self, settings, steps: int = STEPS, held_out: int = HELD_OUT):
        self.settings, self.steps = settings, steps
        self.tokenizer, base = load_seq2seq(settings)
        self.model = with_fresh_vectors(base, self.tokenizer, settings.seed)
        self.practice = make_problems(steps * BATCH, settings.seed)
        self.validation = make_problems(50, settings.seed + 3, without=self.practice)
        self.held_out = {
            "small": make_problems(held_out, settings.seed + 1, SMALL, without=self.practice + self.validation),
            "large": make_problems(held_out, settings.seed + 2, LARGE),
        }

    def base(self) -> dict:
        """Which model everything starts from, and the answers that are right."""
        return {
            "start": fingerprint(self.model),
            "problems": {span: [problem.text for problem in problems] for span, problems in self.held_out.items()},
            "answers": {span: [problem.answer for problem in problems] for span, problems in self.held_out.items()},
        }

    def measure(self, point: Point, folder: Path) -> dict:
        """Trains one way, and keeps what the model writes for every held-out problem; weights are deleted
        afterwards.
        """
        seed_everything(self.settings)
        pairs, validation = (
            encode_pairs(
                *pairs_of(problems, point.way),
                self.tokenizer,
                self.settings.max_prompt_tokens,
                self.settings.max_new_tokens,
            )
            for problems in (self.practice, self.validation)
        )
        run = train(
            self.model,
            self.tokenizer,
            pairs,
            validation,
            full(RATE),
            self.settings,
            folder,
            name=point.name,
            steps=self.steps,
            batch_size=BATCH,
            evaluations=1,
            group_by_length=False,
        )
        shutil.rmtree(run.folder)
        written = {
            span: generate(
                run.model,
                self.tokenizer,
                [problem_prompt(problem, point.way) for problem in problems],
                max_new_tokens=40,
                batch_size=self.settings.generation_batch_size,
            )
            for span, problems in self.held_out.items()
        }
        right = {
            span: [
                int(solved_value(text, point.way) == problem.answer) for text, problem in zip(written[span], problems)
            ]
            for span, problems in self.held_out.items()
        }
        return {"point": asdict(point), "record": asdict(run.record), "written": written, "right": right}


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], {"ways": points()}, lambda _: Bench(load_settings("pocket")), FOLDER)
