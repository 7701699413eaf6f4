"""Checks of the exercises on applications: ranks, the window as a budget, programs, citations, actions; chunks and
plans as experiments.
"""

from __future__ import annotations

import numpy as np

from helpers.applications.agent import ActionError, Tool, read_action
from helpers.exercises.expectations import (
    NotYet,
    entry,
    expect_number,
    expect_numbers,
    expect_text,
    fraction,
    fractions,
    shown,
)

FEWEST_SIZES = 3  # of chunks to compare
ENOUGH = 0.05  # of recall: one question in twenty
GAIN = 0.2  # of problems of another form that better examples must bring


def mean_reciprocal_rank(function):
    """The mean of 1 / place of the right document, places from 1; 0 where it was not found."""
    for orders, right in (([[3, 1, 2]], [3]), ([[3, 1, 2], [0, 2], [5, 4]], [2, 0, 9])):
        expected = np.mean([1 / (order.index(name) + 1) if name in order else 0 for order, name in zip(orders, right)])
        expect_number(
            function([list(order) for order in orders], list(right)),
            expected,
            f"orders {orders}, right documents {right} (1 over the place, counted from 1; 0 where the document "
            "is not in the order)",
        )


def documents_that_fit(function):
    """Numbers of the documents, best first, that a window holds beside the question; none after the first that does not
    fit.
    """
    for lengths, question, window in (
        ([30, 20, 40], 10, 64),
        ([30, 60, 5], 10, 64),
        ([90], 10, 64),
        ([20, 34], 10, 64),
    ):
        expected = []
        for number, _length in enumerate(lengths):
            if question + sum(lengths[: number + 1]) > window:
                break
            expected.append(number)
        found = function(list(lengths), question, window)
        expect_numbers(
            found,
            expected,
            f"documents of {lengths} tokens, a question of {question}, a window of {window} "
            "(whole documents in order; stop at the first that does not fit)",
        )


def tree_value(function):
    """A number is its own value; ("+", a, b), ("-", a, b) and ("*", a, b) are computed; everything else raises
    ValueError.
    """
    for tree, expected in ((7, 7), (("+", 3, ("*", 4, 5)), 23), (("*", ("-", 9, 2), 3), 21)):
        expect_number(function(tree), expected, f"{tree} (the value of each part first, then the operation)")
    forbidden = ("**", 9, 9), ("+", 1, "print"), ("+", 2, ("call", "exit", 0)), ("+", 1), (), ("+", 1, 2, 3), True
    for tree in forbidden:
        try:
            found = function(tree)
        except ValueError:
            continue
        raise NotYet(
            f"{tree}: your function returns {shown(found)}. Everything except numbers and + - * must raise ValueError."
        )


def checked_citation(function):
    """True where `[2] "words"` names a source that there is, and its words stand in that source."""
    sources = ["The bakery opens at 9:40.", "A ticket costs 17 pounds."]
    for citation, expected in (
        ('[1] "opens at 9:40"', True),
        ('[2] "opens at 9:40"', False),
        ('[3] "opens at 9:40"', False),
        ('[0] "A ticket costs"', False),
        ('[2] ""', False),
        ("The bakery opens at 9:40.", False),
    ):
        found = function(citation, list(sources))
        if found in (None, ...):
            raise NotYet(f"{citation!r}: your function returns None. Replace the `...` and return True or False.")
        if bool(found) != expected:
            raise NotYet(
                f"{citation!r} with sources {sources}: expected {expected}, your function returns {shown(found)}. "
                "Sources count from 1, and a quotation has at least one word."
            )


def allowed_action(function):
    """ "name: input" of a JSON text with action and input if its name is allowed, else "refused"."""
    tools = {"search": Tool(str)}
    for written in (
        '{"thought": "look", "action": "search", "input": "red lamp"}',
        '{"thought": "done", "action": "finish", "input": "17 pounds"}',
        '{"thought": "tidy up", "action": "delete", "input": "everything"}',
        '{"thought": "look", "action": "search"}',
        "I look for the lamp.",
        "[1, 2]",
        '{"thought": "look", "action": "search", "input": 5}',
        "[[" * 50_000,
    ):
        try:
            _, name, text = read_action(written, tools)
            expected = f"{name}: {text}"
        except ActionError:
            expected = "refused"
        expect_text(
            function(written, [*tools, "finish"]),
            expected,
            f"{written[:70]!r}, allowed are search and finish (json.loads reads it; all that is not an action is "
            "refused)",
        )


def chunk_sizes(record):
    """The smallest chunks whose recall comes close to the best one."""
    wanted = "{tokens of a chunk: recall at 5}"
    recall = entry(
        record, "recall", lambda found: {int(size): fraction(value) for size, value in found.items()}, wanted
    )
    chosen = entry(record, "chosen", int, "the smallest size that comes close enough")
    if len(recall) < FEWEST_SIZES:
        raise NotYet(f"recall: {len(recall)} sizes; measure at least {FEWEST_SIZES}.")
    if max(recall) > 256:
        raise NotYet(f"recall: a chunk of {max(recall)} tokens; the encoder reads at most 256.")
    enough = [size for size in sorted(recall) if recall[size] >= max(recall.values()) - ENOUGH]
    if chosen != enough[0]:
        raise NotYet(f"chosen: {chosen} is not the smallest size at most {ENOUGH} below the best recall.")


def better_examples(record):
    """Examples in the prompt with which programs for another form of problem come out right."""
    right = entry(record, "right", fractions, "{name of a set of examples: share of right programs}")
    chosen = entry(record, "chosen", str, "the name of the set that you choose")
    if "one form" not in right:
        raise NotYet("right: measure 'one form' as well, the examples of section 4, to compare with.")
    if chosen not in right or right[chosen] < max(right.values()):
        raise NotYet(f"chosen: {chosen!r} is not the best set in the record.")
    if right[chosen] < right["one form"] + GAIN:
        raise NotYet(f"chosen: it brings less than {GAIN} over those of one form; which form is missing in the prompt?")


EXPERIMENTS = (chunk_sizes, better_examples)
CHECKS = (mean_reciprocal_rank, documents_that_fit, tree_value, checked_citation, allowed_action)
