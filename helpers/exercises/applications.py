"""Checks of the exercises on applications: rarity of words, cosines, ranks, the window as a budget, programs,
actions.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cosine as cosine_distance
from sklearn.feature_extraction.text import TfidfVectorizer

from helpers.applications.agent import read_action
from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, expect_text, shown


def inverse_document_frequency(function):
    """ln((1 + N) / (1 + n)) + 1, n being the number of documents with the word."""
    documents = [["red", "lamp", "red"], ["blue", "lamp"], ["old", "lamp", "shade"]]
    vectorizer = TfidfVectorizer(analyzer=list).fit(documents)
    for word in ("lamp", "red", "shade"):
        expected = float(vectorizer.idf_[vectorizer.vocabulary_[word]])
        expect_number(
            function([list(document) for document in documents], word),
            expected,
            f"{word!r} in {documents} (ln((1 + N) / (1 + n)) + 1, where n counts documents, not occurrences)",
        )


def cosine(function):
    """The product of two vectors over the product of their lengths."""
    for one, other in (([1.0, 0.0], [2.0, 0.0]), ([1.0, 2.0, 2.0], [2.0, 1.0, -2.0]), ([3.0, 4.0], [4.0, 3.0])):
        expect_number(
            function(list(one), list(other)),
            1 - cosine_distance(one, other),
            f"{one} and {other} (divide by both lengths: a longer vector is no better match)",
        )


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
    for tree in (("**", 9, 9), ("+", 1, "print"), ("+", 2, ("call", "exit", 0))):
        try:
            found = function(tree)
        except ValueError:
            continue
        raise NotYet(
            f"{tree}: your function returns {shown(found)}. Everything except numbers and + - * must raise ValueError."
        )


def allowed_action(function):
    """ "name[argument]" of the first action of a text if its name is allowed, else "refused"."""
    allowed = ["search", "finish"]
    for written in (
        "Thought: find it\nAction: search[red lamp]",
        "Action: search[hat]\nObservation: 3 pounds\nAction: finish[3]",
        "Action: delete[everything]",
        "Thought: I do not know",
    ):
        name, argument = read_action(written)
        expected = f"{name}[{argument}]" if name in allowed else "refused"
        expect_text(
            function(written, list(allowed)),
            expected,
            f"{written!r}, allowed {allowed} (the first action counts; anything else is refused)",
        )


CHECKS = (inverse_document_frequency, cosine, mean_reciprocal_rank, documents_that_fit, tree_value, allowed_action)
