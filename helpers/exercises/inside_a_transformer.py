"""Checks of the exercises on what is inside a transformer: merges, likeliest pieces, attention, positions, the causal
mask, corrupted spans.
"""

from __future__ import annotations

import numpy as np
import torch

from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, rows_of_numbers, shown
from helpers.transformer.objectives import corrupted
from helpers.transformer.positions import sinusoids
from helpers.transformer.tokenizers import bpe_cut, unigram_cut


def _expect_list(found, expected, what, advice):
    """The same list of texts, in this order."""
    if found is None or found is ...:
        raise NotYet(f"{what}: your function returns None. Replace the `...` and return a list.")
    if not isinstance(found, list | tuple):
        raise NotYet(f"{what}: expected a list of texts, your function returns {shown(found)}.")
    if list(found) != expected:
        raise NotYet(f"{what}: expected {expected}, your function gives {list(found)}. {advice}")


def applied_merges(function):
    """A word in BPE's pieces."""
    for word, merges in (
        ("low", ["lo", "low"]),
        ("lower", ["er", "lo", "low"]),
        ("abab", ["ba", "ab"]),
        ("aaaa", ["aa"]),
        ("xyz", ["ab"]),
    ):
        _expect_list(
            function(word, list(merges)),
            bpe_cut(word, merges),
            f"word {word!r}, merges {merges}",
            "Begin with characters; join the neighbours whose merge comes first in the list, the leftmost of "
            "equals; again, until none can be joined.",
        )


def likeliest_pieces(function):
    """A word in a unigram model's pieces."""
    for word, scores in (
        ("ab", {"a": -1.0, "b": -1.0, "ab": -1.5}),
        ("ab", {"a": -0.5, "b": -0.5, "ab": -1.5}),
        (
            "untie",
            {"u": -4.0, "n": -4.0, "t": -4.0, "i": -4.0, "e": -4.0, "un": -3.0, "tie": -5.0, "unti": -6.5, "nt": -3.0},
        ),
    ):
        _expect_list(
            function(word, dict(scores)),
            unigram_cut(word, scores)[0],
            f"word {word!r}, log-probabilities {scores}",
            "Of all ways to cut the word into known pieces, the one with the largest sum; a longer piece is not "
            "always better.",
        )


def attention_output(function):
    """What one query reads: the values, weighted by the softmax of its scores."""
    rng = np.random.default_rng(0)
    for keys in (1, 4):
        query, bias, width = rng.normal(size=3), rng.normal(size=keys), 3
        key, value = rng.normal(size=(keys, width)), rng.normal(size=(keys, 2))
        weights = torch.softmax(torch.from_numpy(key @ query + bias), -1).numpy()
        expect_numbers(
            function(query.copy(), key.copy(), value.copy(), bias.copy()),
            weights @ value,
            f"{keys} keys of width {width} (softmax of k·q + bias, as T5 has it: without a division by √width; "
            "then the weighted sum of the values)",
        )


def position_vector(function):
    """The sinusoidal vector of one position."""
    for position, width in ((0, 4), (3, 4), (10, 6)):
        expect_numbers(
            function(position, width),
            sinusoids(position + 1, width)[position],
            f"position {position}, width {width} (sine and cosine in turn; the k-th pair of angles is position "
            "/ 10000^(2k / width))",
        )


def causal_mask(function):
    """Who may see whom in a decoder."""
    for length in (1, 4):
        found, expected = (
            rows_of_numbers(function(length), f"length {length}"),
            np.tril(np.ones((length, length))).tolist(),
        )
        if found != expected:
            raise NotYet(
                f"length {length}: expected {expected}, your function gives {found}. Row t, who looks, has 1 "
                "for the places 0 to t and 0 for those that come later."
            )


def corrupted_text(function):
    """A text with sentinels for its spans, and what the sentinels stand for."""
    for text, spans in (
        (["a", "b", "c", "d", "e"], [(1, 2)]),
        (["a", "b", "c", "d", "e", "f", "g"], [(0, 1), (3, 3)]),
        (["a", "b"], [(1, 1)]),
    ):
        numbers = corrupted(list(range(len(text))), spans, [-1, -2, -3, -4])
        named = [
            [f"<{-1 - token}>" if token < 0 else text[token] for token in side]
            for side in (numbers.inputs, numbers.labels)
        ]
        found = function(list(text), list(spans))
        if found is None or found is ...:
            raise NotYet(
                f"text {text}, spans {spans}: your function returns None. Replace the `...` and return two lists."
            )
        if not isinstance(found, list | tuple) or len(found) != 2:
            raise NotYet(
                f"text {text}, spans {spans}: expected two lists, inputs and targets; your function returns "
                f"{shown(found)}."
            )
        for side, part, expected in zip(("inputs", "targets"), found, named):
            _expect_list(
                part,
                expected,
                f"text {text}, spans {spans}, {side}",
                "Each span becomes one sentinel; the targets name each sentinel, its span, and one last sentinel.",
            )


def tokens_with_loss(function):
    """How many labels a family learns from in one text."""
    for length in (100, 40):
        for family, expected in (
            ("encoder-only", 0.15 * length),
            ("decoder-only", length),
            ("encoder-decoder", 0.15 * length + 0.15 * length / 3 + 1),
        ):
            expect_number(
                function(family, length),
                expected,
                f"{family}, {length} tokens (15% are hidden, in spans of 3; an encoder-decoder also "
                "learns to say a sentinel for each span and one at the end; a decoder learns from every token)",
            )


CHECKS = (
    applied_merges,
    likeliest_pieces,
    attention_output,
    position_vector,
    causal_mask,
    corrupted_text,
    tokens_with_loss,
)
