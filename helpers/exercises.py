"""Checks of the exercises: each compares a learner's function with a known answer and says what to look at next."""

from __future__ import annotations

import html
from collections.abc import Callable

import numpy as np
import torch
from IPython.display import HTML

from helpers.metrics import rouge, unigram_overlap
from helpers.sampling import token_distribution

PAIRS = [("cold cold cold", "it is cold outside"), ("#Person1# is late", "#Person1# is late again"), ("", "nothing said"),
         ("the cat and the dog", "the dog and the other dog")]
# 1000 resamples give a 95% interval's width to within some 3%; a 90% interval is 16% too narrow.
WIDTH_TOLERANCE = 0.12


class NotYet(Exception):
    """The exercise is not solved; the message is a hint."""


def _number(found, what):
    """What a function returned as a float; numbers of numpy and torch will do."""
    if found is None or found is ...:
        raise NotYet(f"{what}: your function returns None. Replace the `...` and return a value.")
    try:
        return float(found)
    except (TypeError, ValueError):
        raise NotYet(f"{what}: expected one number, your function returns {_shown(found)}.") from None


def _numbers(found, what):
    """What a function returned as a list of floats; a tuple, a set, an array or a tensor will do."""
    if found is None or found is ...:
        raise NotYet(f"{what}: your function returns None. Replace the `...` and return a list.")
    try:
        return [float(value) for value in found]
    except (TypeError, ValueError):
        raise NotYet(f"{what}: expected a list of numbers, your function returns {_shown(found)}.") from None


def _shown(found):
    return f"{str(found)[:60]!r} (type {type(found).__name__})"


def _expect_number(found, expected, what):
    if not np.isclose(_number(found, what), expected, atol=1e-5):
        raise NotYet(f"{what}: expected {expected:.4g}, your function gives {float(found):.4g}.")


def _expect_numbers(found, expected, what):
    values = _numbers(found, what)
    if len(values) != len(expected):
        raise NotYet(f"{what}: expected {len(expected)} numbers, your function gives {len(values)}.")
    if not np.allclose(values, expected, atol=1e-5):
        raise NotYet(f"{what}: expected {np.round(expected, 4).tolist()}, your function gives {np.round(values, 4).tolist()}.")


def _expect_indices(found, expected, what, advice):
    """Both are sets of places: their order says nothing."""
    values, wanted = sorted(_numbers(found, what)), sorted(expected)
    if values != wanted:
        given = ", ".join(f"{value:g}" for value in values)
        raise NotYet(f"{what}: expected {wanted}, your function gives [{given}]. {advice}")


def clipped_precision(function):
    """ROUGE-1's clipped precision against `unigram_overlap`."""
    for prediction, reference in PAIRS:
        _expect_number(function(prediction.split(), reference.split()),
                       unigram_overlap(prediction, reference)["clipped"].precision,
                       f"prediction {prediction!r}, reference {reference!r}")


def tempered_softmax(function):
    """Softmax with temperature against transformers' warper."""
    logits = torch.tensor([2.0, 1.0, -1.0, 60.0, 59.5])
    for temperature in (0.1, 1.0, 2.0):
        _expect_numbers(function(logits.tolist(), temperature), token_distribution(logits, temperature).tempered.tolist(),
                        f"temperature {temperature} (subtract the maximum first if you get nan or an overflow)")


def nucleus(function):
    """Top-p's smallest set of likeliest tokens, on known cases."""
    probabilities = [0.10, 0.50, 0.05, 0.30, 0.05]
    for top_p, expected in ((0.4, [1]), (0.75, [1, 3]), (0.85, [1, 3, 0]), (1.0, [1, 3, 0, 2, 4])):
        _expect_indices(function(list(probabilities), top_p), expected, f"top_p = {top_p} of {probabilities}",
                        "Take the likeliest first, and stop as soon as the sum reaches top_p; the token that reaches it is in.")


def longest_common_subsequence(function):
    """ROUGE-L's count, recovered from the library's F1."""
    for first, second in (("a b c d", "a c d"), ("a b", "b a"), ("a b", "c"), ("a a b", "a b a b")):
        words = len(first.split()) + len(second.split())
        length = rouge([first], [second])["rougeL"] * words / 2       # F1 is twice the length over the words of both
        _expect_number(function(first.split(), second.split()), round(length), f"{first!r} and {second!r}")


def exemplars_that_fit(function):
    """Dropping exemplars from the front until the rest fits, on known cases."""
    for lengths, budget, expected in (([100, 90, 120], 260, [1, 2]), ([100, 90, 120], 1000, [0, 1, 2]), ([100, 90], 190, [0, 1]),
                                      ([300, 20, 30], 60, [1, 2]), ([20, 300, 30], 60, [2]), ([50, 60], 40, []), ([], 10, [])):
        _expect_indices(function(list(lengths), budget), expected, f"lengths {lengths}, budget {budget}",
                        "The last exemplars stay longest: drop from the front, one at a time, until the rest fits.")


def bootstrap_interval(function):
    """A 95% interval of a mean: where it lies, and that its width is right."""
    scores = np.random.default_rng(3).normal(0.3, 0.1, size=200)
    ends = _numbers(function(scores.copy()), "200 scores")
    if len(ends) != 2:
        raise NotYet(f"200 scores: expected a pair (low, high), your function gives {len(ends)} numbers.")
    low, high = ends
    width = 2 * 1.96 * scores.std() / np.sqrt(len(scores))
    if not low < scores.mean() < high:
        raise NotYet(f"the mean {scores.mean():.3f} must lie inside; your interval is [{low:.3f}, {high:.3f}].")
    if abs((high - low) / width - 1) > WIDTH_TOLERANCE:
        raise NotYet(f"for these 200 scores the interval is about {width:.3f} wide, yours {high - low:.3f}. Resample the "
                     "200 scores with replacement, take the mean, repeat 1000 times, then take the 2.5th and 97.5th percentile.")


CHECKS: dict[str, Callable] = {check.__name__: check for check in (
    clipped_precision, tempered_softmax, nucleus, longest_common_subsequence, exemplars_that_fit, bootstrap_interval)}


def solves(name: str, function: Callable) -> tuple[bool, str]:
    """Whether a function solves an exercise, and a sentence that says what is missing.

    Raises:
        ValueError: there is no exercise of that name.
    """
    if name not in CHECKS:
        raise ValueError(f"exercise: {name!r} is not one of {', '.join(CHECKS)}")
    try:
        CHECKS[name](function)
    except NotYet as hint:
        return False, str(hint)
    except Exception as error:   # noqa: BLE001 - whatever a learner's code raises is a hint, not a crash of the lab
        return False, f"your function raised {type(error).__name__}: {error}"
    return True, "solved"


def check_exercise(name: str, function: Callable) -> HTML:
    """`solves`, as a coloured line below the cell."""
    solved, hint = solves(name, function)
    colour, word = ("#009e73", "Solved.") if solved else ("#d55e00", "Not yet.")
    return HTML(f'<p style="color:{colour}"><b>{word}</b> {"" if solved else html.escape(hint)}</p>')
