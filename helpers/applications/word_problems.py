"""Word problems, made by rule: a text, the program that solves it, the steps in words, the answer; and three ways to
ask a model for it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from helpers.applications.calculator import CalculatorError, calculate
from helpers.applications.catalogue import THINGS

BUYERS = ("Anna", "Tom", "Lisa", "Peter")
COUNTS, SMALL, LARGE = (
    range(2, 10),
    range(2, 21),
    range(21, 100),
)  # pieces; prices in training; prices that no training had
WAYS = ("answer", "steps", "program")
ASKS = {"answer": "Answer:", "steps": "Steps:", "program": "Program:"}
LAST_NUMBER = re.compile(r"-?\d+(?!.*\d)", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """One problem; `steps` are (program, value) pairs, of which the last value is the answer."""

    text: str
    program: str
    steps: tuple[tuple[str, int], ...]

    @property
    def answer(self) -> int:
        """The number that is asked for."""
        return self.steps[-1][1]

    def completion(self, way: str) -> str:
        """What a model should write when it is asked in one of `WAYS`."""
        return {
            "answer": str(self.answer),
            "steps": ", ".join(f"{program} = {value}" for program, value in self.steps),
            "program": self.program,
        }[way]


def make_problem(rng: random.Random, prices: Sequence[int] = SMALL) -> Problem:
    """A problem of one of three kinds, each of two operations; prices are drawn from `prices`."""
    count, price, other = rng.choice(COUNTS), rng.choice(prices), rng.choice(prices)
    buyer, (one, two) = rng.choice(BUYERS), rng.sample(THINGS, 2)
    product = count * price
    kind = rng.choice(("sum", "change", "sets"))
    if kind == "sum":
        return Problem(
            f"{buyer} buys {count} {one}s for {price} pounds each and a {two} for {other} pounds. What does "
            f"{buyer} pay?",
            f"{count} * {price} + {other}",
            ((f"{count} * {price}", product), (f"{product} + {other}", product + other)),
        )
    if kind == "change":
        money = product + other
        return Problem(
            f"{buyer} has {money} pounds and buys {count} {one}s for {price} pounds each. What is left?",
            f"{money} - {count} * {price}",
            ((f"{count} * {price}", product), (f"{money} - {product}", other)),
        )
    both = price + other
    return Problem(
        f"A {one} costs {price} pounds and a {two} {other} pounds. What do {count} of both cost?",
        f"({price} + {other}) * {count}",
        ((f"{price} + {other}", both), (f"{both} * {count}", both * count)),
    )


def make_problems(
    count: int, seed: int, prices: Sequence[int] = SMALL, without: Sequence[Problem] = ()
) -> list[Problem]:
    """`count` different problems, none of them with a text that stands in `without`."""
    rng, found, known = random.Random(seed), {}, {problem.text for problem in without}
    while len(found) < count:
        problem = make_problem(rng, prices)
        if problem.text not in known:
            found[problem.text] = problem
    return list(found.values())


def problem_prompt(problem: Problem, way: str) -> str:
    """The problem with what is asked for below it."""
    return f"{problem.text}\n{ASKS[way]}"


def solved_value(completion: str, way: str) -> int | None:
    """The number that a completion gives as the answer; None where it gives none, or writes a program that does not
    run.

    A program is run by `helpers.applications.calculator`; of an answer or of steps the last number counts.
    """
    if way == "program":
        try:
            value = calculate(completion)
        except CalculatorError:
            return None
        return int(value) if value.denominator == 1 else None
    found = LAST_NUMBER.search(completion)
    return int(found[0]) if found else None
