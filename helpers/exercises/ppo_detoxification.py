"""Checks of the third lab's exercises: rewards, advantages, clipping, whitening, labels by name, pairs."""

from __future__ import annotations

import math

import numpy as np
import torch

from helpers.alignment.ppo import generalised_advantages, penalised_rewards, policy_loss, whiten
from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, pairs


def _row(*values):
    return torch.tensor([values], dtype=torch.float64)


def _all(values):
    return torch.ones_like(values, dtype=torch.bool)


def token_rewards(function):
    """A penalty for each token, the score with the last one."""
    for score, logprobs, reference, kl_coef in (
        (2.0, (-1.0, -0.5, -0.1), (-1.0, -0.7, -0.4), 0.2),
        (-1.0, (-0.3,), (-0.1,), 0.5),
        (0.5, (-1, -2), (-3, -1), 0.0),
    ):
        expected = penalised_rewards(
            torch.tensor([score], dtype=torch.float64),
            _row(*logprobs),
            _row(*reference),
            _all(_row(*logprobs)),
            kl_coef,
        )[0]
        expect_numbers(
            function(score, list(logprobs), list(reference), kl_coef),
            expected.tolist(),
            f"score {score}, log-probabilities {logprobs}, of the reference {reference}, coefficient {kl_coef} "
            "(minus the coefficient times the difference; the score is added to the last token)",
        )


def advantages(function):
    """Generalised advantage estimation of one completion."""
    for rewards, values, gamma, lam in (
        ((0.0, 0.0, 1.0), (0.5, 0.6, 0.8), 1.0, 0.95),
        ((1.0, 2.0), (0.0, 0.0), 0.9, 0.5),
        ((3.0,), (1.0,), 1.0, 0.0),
        ((0.0, -0.1, 0.0, 2.0), (0.3, 0.1, -0.2, 0.4), 1.0, 1.0),
    ):
        expected = generalised_advantages(_row(*rewards), _row(*values), _all(_row(*rewards)), gamma, lam).advantages[0]
        expect_numbers(
            function(list(rewards), list(values), gamma, lam),
            expected.tolist(),
            f"rewards {rewards}, values {values}, gamma {gamma}, lambda {lam} (go backwards; after the last "
            "token the value is 0)",
        )


def clipped_loss(function):
    """The clipped surrogate of one token."""
    for ratio, advantage, cliprange in (
        (1.5, 1.0, 0.2),
        (0.5, 1.0, 0.2),
        (1.5, -1.0, 0.2),
        (0.5, -1.0, 0.2),
        (1.05, 2.0, 0.1),
        (1.0, 0.0, 0.2),
    ):
        expected = policy_loss(
            _row(math.log(ratio)), _row(0.0), _row(advantage), _row(1.0).bool(), cliprange
        ).loss.item()
        expect_number(
            function(ratio, advantage, cliprange),
            expected,
            f"ratio {ratio}, advantage {advantage}, range {cliprange} (the larger of two losses: with the ratio "
            "as it is, and clipped)",
        )


def whitened(function):
    """Mean 0, variance 1, over what the mask counts."""
    for values, mask in (
        ((1.0, 2.0, 3.0), (1, 1, 1)),
        ((5.0, 7.0, 99.0), (1, 1, 0)),
        ((2.0, -1.0, 0.5, 4.0), (1, 0, 1, 1)),
    ):
        expected = whiten(_row(*values), _row(*mask).bool())[0]
        expect_numbers(
            function(np.array(values), np.array(mask)),
            expected.tolist(),
            f"values {values}, mask {mask} (only what the mask counts makes mean and variance; divide by n − 1; "
            "the rest becomes 0)",
        )


def harmless_index(function):
    """The label by its name, wherever it stands."""
    for labels, expected in (
        ({0: "nothate", 1: "hate"}, 0),
        ({0: "hate", 1: "nothate"}, 1),
        ({0: "offensive", 1: "hate", 2: "nothate"}, 2),
    ):
        expect_number(
            function(dict(labels)), expected, f"labels {labels} (find the name 'nothate'; 'hate' is a part of it)"
        )


def pairs_of(function):
    """n completions ranked best first give n(n−1)/2 pairs of (better, worse)."""
    for ranked in (["a", "b"], ["c", "a", "b"], ["only"], list("wxyz")):
        expected = {(better, worse) for place, better in enumerate(ranked) for worse in ranked[place + 1 :]}
        what = f"ranked, best first: {ranked}"
        found = pairs(function(list(ranked)), what)
        if len(found) != len(expected):
            raise NotYet(f"{what}: expected {len(expected)} pairs, n(n−1)/2, your function gives {len(found)}.")
        if set(found) != expected:
            raise NotYet(
                f"{what}: expected {sorted(expected)}, your function gives {found}. In each pair the better one "
                "comes first."
            )


CHECKS = (token_rewards, advantages, clipped_loss, whitened, harmless_index, pairs_of)
