"""Errands: questions that take several steps in a shop, with the thoughts and actions that answer them; pairs that teach an agent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from helpers.applications.agent import FINISH, Trace, calculator_tool, quoted, take_step
from helpers.applications.catalogue import Product

KINDS = ("place", "together")


@dataclass(frozen=True)
class Errand:
    """A question, its answer, the products that it is about, and what a perfect agent writes, step by step."""
    question: str
    answer: str
    products: tuple[Product, ...]
    steps: tuple[str, ...]
    kind: str


def _step(thought, action, argument):
    return f"Thought: {thought}\nAction: {action}[ {argument} ]"      # with blanks, so that a word has the same token here as in the question


def make_errand(kind: str, products: Sequence[Product], rng: random.Random) -> Errand:
    """An errand of one of `KINDS` about products drawn from `products`. Each thought sums up what the next step needs.

    Raises:
        ValueError: an unknown kind, or fewer than two products.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    if len(products) < 2:
        raise ValueError(f"products: {len(products)} of them; an errand can be about two, give at least two")
    one, two = rng.sample(list(products), 2)
    if kind == "place":
        answer = one.answer("place")
        steps = (_step(f"the place of the {one.name}", "search", one.name), _step("done", FINISH, answer))
        return Errand(f"Where in this shop do I find the {one.name}, please?", answer, (one,), steps, kind)
    program = f"{one.price} + {two.price}"
    answer = f"{calculator_tool(program)} pounds"
    steps = (_step(f"the {one.name} and the {two.name}", "search", one.name), _step(f"{one.price} and the {two.name}", "search", two.name),
             _step(f"{one.price} and {two.price} in all", "calculate", program), _step("done", FINISH, answer))
    return Errand(f"What do the {one.name} and the {two.name} cost together?", answer, (one, two), steps, kind)


def make_errands(count: int, products: Sequence[Product], seed: int) -> list[Errand]:
    """`count` errands, the kinds in turn."""
    rng = random.Random(seed)
    return [make_errand(KINDS[number % len(KINDS)], products, rng) for number in range(count)]


def step_pairs(errands: Sequence[Errand], search) -> tuple[list[str], list[str]]:
    """(prompts, completions), one pair a step: what the agent reads before it, and what to write next.

    Args:
        search: the tool, from a product's name to a document.
    """
    prompts, completions = [], []
    for errand in errands:
        trace = Trace(errand.question)
        for written in errand.steps:
            prompts.append(trace.prompt())
            completions.append(written)
            take_step(trace, written, {"search": search, "calculate": calculator_tool}, quoted)
    return prompts, completions
