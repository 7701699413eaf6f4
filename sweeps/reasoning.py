"""The sweep of rewards that a rule computes: a small decoder learns word problems by GRPO, with right results or with
form alone as the reward, in groups of several sizes; and by more of the same worked examples.

python -m sweeps.reasoning [--only rates|ways|groups] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was. One thread; a run takes about a minute of it.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from helpers.applications.reasoner import (
    PRICES,
    arithmetic_texts,
    new_reasoner,
    question,
    teach,
    word_tokenizer,
    worked_examples,
)
from helpers.applications.reinforcement import BATCH, GROUP, RATE, STEPS, reinforce
from helpers.applications.solutions import check_solution, pass_at_k, solve
from helpers.applications.word_problems import make_problems
from sweeps import RESULTS, SEEDS, Results, command_line

FOLDER, COMMAND = RESULTS / "reasoning", "python -m sweeps.reasoning"
PRETRAINING = {"steps": 300, "rate": 5e-3, "batch_size": 64}
SUPERVISED = {"steps": 300, "rate": 4e-3, "batch_size": 32}
TRAIN, VALIDATION, TEST = 6000, 64, 128  # problems; the first half of TRAIN has worked solutions, the other answers
DRAWS = {"validation": 8, "test": 32}  # solutions of each problem
RATES = (1e-4, 3e-4, 1e-3)
GROUPS = (2, 8, 32)
MATTERS = 0.02  # the smallest difference in right solutions that matters here
SUPERVISED_WAYS = ("examples", "shown")
MORE = SUPERVISED | {"steps": STEPS * BATCH // SUPERVISED["batch_size"], "rate": SUPERVISED["rate"] / 4}
LONGER = 2 * STEPS  # of the reward for form, and of the right results beside it


@dataclass(frozen=True)
class Point:
    """One training of the supervised start.

    Attributes:
        reward: "right" or "form" of GRPO; "examples" is no GRPO, but more supervised steps on the same worked examples,
            "shown" on those of them that show their steps; "none" is the start itself.
    """

    reward: str
    steps: int = STEPS
    group: int = GROUP
    rate: float = RATE
    seed: int = SEEDS[0]

    @property
    def name(self) -> str:
        """What its file is called."""
        if self.reward == "none":
            return f"start-s{self.seed}"
        if self.reward in SUPERVISED_WAYS:
            return f"{self.reward}-s{self.seed}"
        return f"{self.reward}-{self.steps}-g{self.group}-lr{self.rate:g}-s{self.seed}"


START, EXAMPLES, SHOWN = Point("none"), Point("examples"), Point("shown")
RIGHT, RIGHT_LONGER, FORM = Point("right"), Point("right", LONGER), Point("form", LONGER)


def rewards() -> dict:
    """Name -> reward of a completion. The form is right where every step is, whatever the problem asks."""
    return {
        "right": lambda completion, problem: float(check_solution(completion, problem).right),
        "form": lambda completion, problem: float(check_solution(completion, problem).calculated),
    }


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points: rates by the first seed alone, all else seed after seed."""

    def every_seed(points):
        return [replace(point, seed=seed) for seed in SEEDS for point in points]

    return {
        "rates": [replace(RIGHT, rate=rate) for rate in RATES],
        "ways": every_seed([START, EXAMPLES, SHOWN, RIGHT, RIGHT_LONGER, FORM]),
        "groups": every_seed([replace(RIGHT, group=group) for group in GROUPS]),
    }


class Bench:
    """What all points share: problems, the tokenizer, and a supervised start for each seed."""

    def __init__(self, sizes=(TRAIN, VALIDATION, TEST), pretraining=PRETRAINING, supervised=SUPERVISED, more=MORE):
        train, validation, test = sizes
        self.train = make_problems(train, seed=1, prices=PRICES)
        self.test = make_problems(test, seed=2, prices=PRICES, without=self.train)
        self.validation = make_problems(validation, seed=3, prices=PRICES, without=[*self.train, *self.test])
        self.tokenizer = word_tokenizer(question(problem) for problem in self.train)
        self.stages, self.more = (pretraining, supervised), more
        self.start = cache(self._start)

    @property
    def worked(self):
        """Problems with worked solutions."""
        return self.train[: len(self.train) // 2]

    @property
    def answered(self):
        """Other problems, of which the answers alone are known."""
        return self.train[len(self.train) // 2 :]

    def _start(self, seed: int):
        """The model that pretraining and worked examples give, with this seed for its weights, texts and batches."""
        pretraining, supervised = self.stages
        model = new_reasoner(self.tokenizer, seed)
        texts = arithmetic_texts(5000, seed) + [("", problem.text) for problem in self.worked]
        teach(model, self.tokenizer, texts, seed=seed, name="pretraining", **pretraining)
        examples = worked_examples(self.worked, seed)
        teach(model, self.tokenizer, examples, seed=seed + 100, name="examples", **supervised)
        return model

    def base(self) -> dict:
        """The measured problems; each is a cluster of its own, as the rule draws every one anew."""
        return {"problems": [problem.text for problem in self.test], "clusters": list(range(len(self.test)))}

    def measure(self, point: Point, _folder: Path) -> dict:
        """Trains and lets it solve held-out problems; no weights are kept."""
        model, history, began = copy.deepcopy(self.start(point.seed)), [], time.perf_counter()
        training = {}
        if point.reward in SUPERVISED_WAYS:
            examples = worked_examples(self.worked, point.seed)
            if point.reward == "shown":
                examples = [pair for pair in examples if "=" in pair[1]]
            training = self.more | {"examples": len(examples)}
            teach(model, self.tokenizer, examples, seed=point.seed + 200, **self.more)
        elif point.reward != "none":
            training = {"steps": point.steps, "group_size": point.group, "rate": point.rate}
            history = reinforce(model, self.tokenizer, self.answered, rewards()[point.reward], point.seed, **training)
        seconds = round(time.perf_counter() - began, 1)
        history = [{name: round(value, 5) for name, value in step.items()} for step in history]
        return {
            "point": asdict(point),
            "training": training,
            "training_seconds": seconds,
            "history": history,
        } | self.scores(model)

    def scores(self, model) -> dict:
        """Kind of problems -> numbers of each problem; "counts" are the right ones of its solutions."""
        found = {}
        for kind, draws in DRAWS.items():
            problems = getattr(self, kind)
            solved = solve(model, self.tokenizer, problems, [question(each) for each in problems], draws, seed=0)
            found[kind] = {
                "counts": solved.right.sum(1).tolist(),
                "voted": solved.voted.astype(int).tolist(),
                "tokens": np.round(solved.tokens.mean(1), 2).tolist(),
                **{
                    name: np.round(getattr(solved, name).mean(1), 4).tolist()
                    for name in ("right", "form", "calculated")
                },
                "texts": [texts[0] for texts in solved.texts],
            }
        return found


def passes(results: Results, point: Point, k: int) -> np.ndarray:
    """(S, N) pass@k of each held-out problem, a row for each seed; see `pass_at_k`."""
    counts = [results[replace(point, seed=seed).name]["test"]["counts"] for seed in results.seeds]
    order = np.arange(DRAWS["test"])
    return np.array([pass_at_k(order < np.array(row)[:, None], k) for row in counts])


def chosen_rate(results: Results) -> float:
    """GRPO's rate, by the first seed alone and on validation problems: the largest of those that solve within `MATTERS`
    of the most, as it needs the fewest steps.
    """
    found = {rate: np.mean(results[replace(RIGHT, rate=rate).name]["validation"]["right"]) for rate in RATES}
    return max(rate for rate, share in found.items() if share >= max(found.values()) - MATTERS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(), FOLDER)
