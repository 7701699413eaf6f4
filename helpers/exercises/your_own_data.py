"""Checks of the exercises on one's own data: copied summaries, leaks, groups, wrong encodings, how many dialogues are
enough, names without paths.
"""

from __future__ import annotations

import math

from helpers.data.splits import dialogue_key
from helpers.exercises.expectations import expect_number, expect_numbers, expect_text

TALK = "Ann: Where is the key?\nBen: The key is under the mat, as always."


def copied_summary(function):
    """Whether a summary stands in its dialogue word by word."""
    for summary, expected in (
        ("The key is under the mat", True),
        ("the  KEY is under the\nmat", True),
        ("Ann asks Ben for the key", False),
        ("under the mat, always", False),
    ):
        expect_number(
            function(summary, TALK),
            expected,
            f"summary {summary!r} in {TALK!r} (blanks, newlines, upper and lower case do not count)",
        )


def leaked_share(function):
    """How much of the test split is known from training."""
    for train, test in (
        (["a b", "c"], ["A  b", "d"]),
        (["x"], ["y"]),
        (["x", "y"], ["Y", "x\n", "x", "z"]),
        ([], ["z"]),
    ):
        known = set(map(dialogue_key, train))
        expect_number(
            function(list(train), list(test)),
            sum(dialogue_key(text) in known for text in test) / len(test),
            f"train {train}, test {test} (the share of the test dialogues that are in train too; blanks and "
            "case do not count)",
        )


def dialogue_numbers(function):
    """One number a dialogue, for a split that keeps its rows together."""
    for rows in (["p", "q", "p"], ["a", "A ", "b", "c", "b"], ["z"]):
        known = list(dict.fromkeys(map(dialogue_key, rows)))
        expect_numbers(
            function(list(rows)),
            [known.index(dialogue_key(row)) for row in rows],
            f"dialogues {rows} (rows of the same dialogue get the same number, counted from 0 in the order of "
            "first appearance; blanks and case do not count)",
        )


def mended_text(function):
    """UTF-8 that was read as Windows' 1252, read again."""
    for text in (  # all survive: no letter of them has one of the five bytes that 1252 lacks
        "Grüße aus dem Café",
        "“Hello, said Zoë – and left",
        "plain",
        "£4",
        "Dvořák, Besançon, señor, cœur",
    ):
        broken = text.encode("utf-8").decode("cp1252")
        for given in (broken, text):
            expect_text(function(given), text, f"text {given!r} (a text that is right already must stay as it is)")


def dialogues_needed(function):
    """From one interval to the test set that a narrower one takes."""
    for count, half_width, wanted in (
        (50, 0.04, 0.02),
        (50, 0.04, 0.01),
        (80, 0.03, 0.02),
        (10, 0.05, 0.05),
        (60, 0.033, 0.02),
    ):
        expect_number(
            function(count, half_width, wanted),
            math.ceil(round(count * (half_width / wanted) ** 2, 6)),
            f"{count} dialogues give ±{half_width}, wanted is ±{wanted} (the width goes down with the square "
            "root of the number; round up)",
        )


def public_part(function):
    """What may be said of a path."""
    for path, expected in (
        ("/home/ann/models/my-t5", "my-t5"),
        ("C:\\Users\\ann\\data.csv", "data.csv"),
        ("google/flan-t5-base", "google/flan-t5-base"),
        ("/my-t5/", "my-t5"),
    ):
        expect_text(
            function(path),
            expected,
            f"{path!r} (a path begins with / or with a drive's letter; anything else is a name on the hub)",
        )


CHECKS = (copied_summary, leaked_share, dialogue_numbers, mended_text, dialogues_needed, public_part)
