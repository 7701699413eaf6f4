"""Word problems, made by rule: a text, the program that solves it, the steps in words, the answer; and three ways to
ask a model for it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from helpers.applications.calculator import CalculatorError, calculate

BUYERS = ("Anna", "Tom", "Lisa", "Peter")
THINGS = (
    "lamp",
    "kettle",
    "cup",
    "chair",
    "table",
    "clock",
    "blanket",
    "mirror",
    "basket",
    "candle",
    "pillow",
    "umbrella",
    "guitar",
    "tent",
    "ladder",
    "hammer",
    "bucket",
    "rope",
    "shelf",
    "drum",
    "radio",
    "scarf",
    "hat",
    "coat",
    "box",
)
# pieces; prices in training; prices that no training had
COUNTS, SMALL, LARGE = range(2, 10), range(2, 21), range(21, 100)
KINDS = ("sum", "change", "sets")
WAYS = ("answer", "steps", "program")
ASKS = {"answer": "Answer:", "steps": "Steps:", "program": "Program:"}
LAST_NUMBER = re.compile(r"-?\d+(?!.*\d)", re.DOTALL)
LONGEST_NUMBER = 100  # characters; a longer one is no answer, and Python refuses to read very long ones


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


def with_article(noun: str) -> str:
    """A noun of `THINGS` behind "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """A noun of `THINGS` in the plural."""
    if noun.endswith("lf") or noun == "scarf":
        return f"{noun[:-1]}ves"
    return f"{noun}es" if noun.endswith(("x", "s", "ch", "sh")) else f"{noun}s"


def make_problem(rng: random.Random, prices: Sequence[int] = SMALL, kinds: Sequence[str] = KINDS) -> Problem:
    """A problem of one of these kinds, each of two operations; prices are drawn from `prices`.

    Raises:
        ValueError: a kind that is none of `KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds: {kind!r} is not one of {', '.join(KINDS)}")
    count, price, other = rng.choice(COUNTS), rng.choice(prices), rng.choice(prices)
    buyer, (one, two) = rng.choice(BUYERS), rng.sample(THINGS, 2)
    product = count * price
    kind = rng.choice(kinds)
    if kind == "sum":
        return Problem(
            f"{buyer} buys {count} {plural(one)} for {price} pounds each and {with_article(two)} for {other} pounds. "
            f"What does {buyer} pay?",
            f"{count} * {price} + {other}",
            ((f"{count} * {price}", product), (f"{product} + {other}", product + other)),
        )
    if kind == "change":
        money = product + other
        return Problem(
            f"{buyer} has {money} pounds and buys {count} {plural(one)} for {price} pounds each. What is left?",
            f"{money} - {count} * {price}",
            ((f"{count} * {price}", product), (f"{money} - {product}", other)),
        )
    both = price + other
    return Problem(
        f"{with_article(one).capitalize()} costs {price} pounds and {with_article(two)} {other} pounds. "
        f"What do {count} of both cost?",
        f"({price} + {other}) * {count}",
        ((f"{price} + {other}", both), (f"{both} * {count}", both * count)),
    )


def make_problems(
    count: int,
    seed: int,
    prices: Sequence[int] = SMALL,
    without: Sequence[Problem] = (),
    kinds: Sequence[str] = KINDS,
) -> list[Problem]:
    """`count` different problems of these kinds, none of them with a text that stands in `without`."""
    rng, found, known = random.Random(seed), {}, {problem.text for problem in without}
    while len(found) < count:
        problem = make_problem(rng, prices, kinds)
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
    return int(found[0]) if found and len(found[0]) <= LONGEST_NUMBER else None
