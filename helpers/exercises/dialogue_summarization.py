"""Checks of the first lab's exercises: prompts, decoding, measuring."""

from __future__ import annotations

import numpy as np
import torch

from helpers.evaluation.metrics import rouge, unigram_overlap
from helpers.exercises.expectations import NotYet, expect_indices, expect_number, expect_numbers, numbers
from helpers.models.sampling import token_distribution

PAIRS = [
    ("cold cold cold", "it is cold outside"),
    ("#Person1# is late", "#Person1# is late again"),
    ("", "nothing said"),
    ("the cat and the dog", "the dog and the other dog"),
]
# 1000 resamples give a 95% interval's width to within some 3%; a 90% interval is 16% too narrow.
WIDTH_TOLERANCE = 0.12


def clipped_precision(function):
    """ROUGE-1's clipped precision against `unigram_overlap`."""
    for prediction, reference in PAIRS:
        expect_number(
            function(prediction.split(), reference.split()),
            unigram_overlap(prediction, reference)["clipped"].precision,
            f"prediction {prediction!r}, reference {reference!r}",
        )


def tempered_softmax(function):
    """Softmax with temperature against transformers' warper."""
    logits = torch.tensor([2.0, 1.0, -1.0, 60.0, 59.5])
    for temperature in (0.1, 1.0, 2.0):
        expect_numbers(
            function(logits.tolist(), temperature),
            token_distribution(logits, temperature).tempered.tolist(),
            f"temperature {temperature} (subtract the maximum first if you get nan or an overflow)",
        )


def nucleus(function):
    """Top-p's smallest set of likeliest tokens, on known cases."""
    probabilities = [0.10, 0.50, 0.05, 0.30, 0.05]
    for top_p, expected in ((0.4, [1]), (0.75, [1, 3]), (0.85, [1, 3, 0]), (1.0, [1, 3, 0, 2, 4])):
        expect_indices(
            function(list(probabilities), top_p),
            expected,
            f"top_p = {top_p} of {probabilities}",
            "Take the likeliest first, and stop as soon as the sum reaches top_p; the token that reaches it is in.",
        )


def longest_common_subsequence(function):
    """ROUGE-L's count, recovered from the library's F1."""
    for first, second in (("a b c d", "a c d"), ("a b", "b a"), ("a b", "c"), ("a a b", "a b a b")):
        words = len(first.split()) + len(second.split())
        length = rouge([first], [second])["rougeL"] * words / 2  # F1 is twice the length over the words of both
        expect_number(function(first.split(), second.split()), round(length), f"{first!r} and {second!r}")


def exemplars_that_fit(function):
    """Dropping exemplars from the front until the rest fits, on known cases."""
    for lengths, budget, expected in (
        ([100, 90, 120], 260, [1, 2]),
        ([100, 90, 120], 1000, [0, 1, 2]),
        ([100, 90], 190, [0, 1]),
        ([300, 20, 30], 60, [1, 2]),
        ([20, 300, 30], 60, [2]),
        ([50, 60], 40, []),
        ([], 10, []),
    ):
        expect_indices(
            function(list(lengths), budget),
            expected,
            f"lengths {lengths}, budget {budget}",
            "The last exemplars stay longest: drop from the front, one at a time, until the rest fits.",
        )


def bootstrap_interval(function):
    """A 95% interval of a mean: where it lies, and that its width is right."""
    scores = np.random.default_rng(3).normal(0.3, 0.1, size=200)
    ends = numbers(function(scores.copy()), "200 scores")
    if len(ends) != 2:
        raise NotYet(f"200 scores: expected a pair (low, high), your function gives {len(ends)} numbers.")
    low, high = ends
    width = 2 * 1.96 * scores.std() / np.sqrt(len(scores))
    if not low < scores.mean() < high:
        raise NotYet(f"the mean {scores.mean():.3f} must lie inside; your interval is [{low:.3f}, {high:.3f}].")
    if abs((high - low) / width - 1) > WIDTH_TOLERANCE:
        raise NotYet(
            f"for these 200 scores the interval is about {width:.3f} wide, yours {high - low:.3f}. Resample the "
            "200 scores with replacement, take the mean, repeat 1000 times, then take the 2.5th and 97.5th percentile."
        )


CHECKS = (
    clipped_precision,
    tempered_softmax,
    nucleus,
    longest_common_subsequence,
    exemplars_that_fit,
    bootstrap_interval,
)
