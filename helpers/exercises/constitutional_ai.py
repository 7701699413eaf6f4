"""Checks of the exercises on constitutional AI: objections, a critic's scores, revised texts, preferences of a model,
best of n.
"""

from __future__ import annotations

import numpy as np

from helpers.exercises.expectations import expect_indices, expect_number, expect_numbers, expect_text


def objections(function):
    """The places of the sentences that a critic objects to."""
    nothing = "Nothing to object."
    for critiques in (
        [nothing, "The word fool insults somebody."],
        ["nothing to object", "  Nothing to object. ", "Nothing is right here."],
        [],
        ["", nothing],
    ):
        expected = [
            place
            for place, critique in enumerate(critiques)
            if critique.strip().rstrip(".").lower() != "nothing to object"
        ]
        expect_indices(
            function(list(critiques), nothing),
            expected,
            f"critiques {critiques}",
            "Case, blanks at the ends and the full stop do not count; anything else is an objection.",
        )


def critic_scores(function):
    """(precision, recall) of a critic."""
    for found, faulty in (
        ([True, True, False, False], [True, False, True, False]),
        ([True] * 4, [True, False, False, False]),
        ([False, False], [True, False]),
        ([True, False], [False, False]),
        ([True, True, True], [True, True, False]),
    ):
        hits = sum(one and other for one, other in zip(found, faulty))
        expected = [hits / sum(found) if any(found) else 1.0, hits / sum(faulty) if any(faulty) else 1.0]
        expect_numbers(
            function(list(found), list(faulty)),
            expected,
            f"found {found}, faulty {faulty} (right objections over all objections, then over all faults)",
        )


def revised_text(function):
    """A text whose faulty sentences have been replaced."""
    written = ["Ann calls Bo a fool.", "Bo leaves.", "Ann stays."]
    for revisions in ({}, {0: "Ann is angry at Bo."}, {2: "", 0: "Ann is angry at Bo."}, {1: ""}):
        parts = [revisions.get(place, sentence) for place, sentence in enumerate(written)]
        expect_text(
            function(list(written), dict(revisions)),
            " ".join(part for part in parts if part),
            f"sentences {written}, revisions {revisions}",
        )


def ai_preference(function):
    """The softmax of two log-probabilities."""
    for first, second in ((-1.0, -1.0), (-0.5, -2.0), (-7.0, -3.0), (-1000.0, -1001.0), (-1000.0, -1.0)):
        expect_number(
            function(first, second),
            np.exp(first - np.logaddexp(first, second)),
            f"log-probabilities {first} and {second} (exp of each over the sum of both; only their difference "
            "counts, so that nothing is divided by 0)",
        )


def without_position(function):
    """[preference with the bias averaged out, bias]."""
    for first, second in ((0.9, 0.7), (0.5, 0.5), (0.8, 0.2), (0.3, 0.6)):
        expect_numbers(
            function(first, second),
            [(first + second) / 2, first - second],
            f"the text is preferred with {first} standing first and with {second} standing second (the mean, "
            "then the difference)",
        )


def best_of_n(function):
    """The mean toxicity of the answers with the highest reward."""
    for scores, toxicity in (
        ([[1.0, 3.0, 2.0]], [[0.1, 0.2, 0.9]]),
        ([[0.0, 1.0], [2.0, 2.0]], [[0.5, 0.1], [0.3, 0.7]]),
        ([[-1.0, -2.0], [-5.0, -4.0]], [[0.2, 0.8], [0.6, 0.4]]),
    ):
        expected = np.mean([row[int(np.argmax(rewards))] for rewards, row in zip(scores, toxicity)])
        expect_number(
            function([list(row) for row in scores], [list(row) for row in toxicity]),
            expected,
            f"scores {scores}, toxicity {toxicity} (the answer with the highest score of each row, the first of "
            "equal ones)",
        )


CHECKS = (objections, critic_scores, revised_text, ai_preference, without_position, best_of_n)
