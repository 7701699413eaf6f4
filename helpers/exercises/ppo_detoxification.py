"""Checks of the third lab's exercises: returns, distances, what a value head explains, best-of-n, pairs."""

from __future__ import annotations

import itertools

import numpy as np

from helpers.exercises.expectations import (
    NotYet,
    entry,
    expect_number,
    expect_numbers,
    fraction,
    pairs,
    tried_values,
)

HIGHEST_KL = 1.0  # nats a completion, of the experiment with beta
LEFT = 0.5  # of the toxicity, of the experiment with best-of-n
MEASURED = 4  # every n from 1 to this, in the same experiment
CLOSE = 1e-3  # a rounded number is still the one that was tried


def discounted_returns(function):
    """Sums of all later rewards, against a matrix of discounts."""
    for rewards, gamma in (([0.0, 0.0, 1.0], 0.9), ([1.0, 2.0, -1.0, 0.5], 0.5), ([3.0], 0.3), ([1.0, 1.0], 1.0)):
        steps = np.arange(len(rewards))
        weights = np.triu(np.power(gamma, np.maximum(0, steps[None] - steps[:, None]).astype(float)))
        expect_numbers(
            function(list(rewards), gamma),
            (weights @ rewards).tolist(),
            f"rewards {rewards}, gamma {gamma} (a step's own reward counts whole; go from the end to the beginning)",
        )


def kl_estimate(function):
    """Schulman's estimator k3 of a KL, which no single term makes negative."""
    for own, other in (([-1.0, -0.5, -2.0], [-1.2, -0.3, -2.0]), ([-0.1], [-3.0]), ([-1.0, -2.0], [-1.0, -2.0])):
        distance = np.array(other) - own
        expect_number(
            function(list(own), list(other)),
            (np.exp(distance) - 1 - distance).mean(),
            f"log-probabilities {own}, of the reference {other} (d is the reference's minus the policy's)",
        )


def explained_variance(function):
    """1 minus the share of the returns' variance that the values leave."""
    for returns, values in (
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 4.0], [0.5, 0.5, 0.5]),
        ([0.0, 1.0, 5.0, 2.0], [1.0, 0.0, 4.0, 2.5]),
        ([1.0, 3.0], [3.0, 1.0]),
    ):
        left = np.var(np.array(returns) - values) / np.var(returns)
        expect_number(
            function(list(returns), list(values)),
            1 - left,
            f"returns {returns}, values {values} (variance of the difference over variance of the returns)",
        )


def expected_best_of(function):
    """The expected maximum of n of N scores, by all draws."""
    for scores, n in (
        ([1.0, 5.0, 2.0, 3.0], 2),
        ([0.3, -1.0, 0.5, 2.0, 0.1], 3),
        ([4.0, 1.0], 1),
        ([1.0, 2.0, 3.0], 3),
    ):
        draws = list(itertools.combinations(scores, n))
        expect_number(
            function(list(scores), n),
            np.mean([max(draw) for draw in draws]),
            f"scores {scores}, n = {n} ({len(draws)} equally likely draws; take the largest of each)",
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


def kl_budget(record):
    """A policy within a given distance of its reference, the kindest of those that were tried."""
    tried = tried_values(record, float, "{beta: {'kl': …, 'judged': …}} of at least two values")
    entry(record, "lam", fraction, "λ, between 0 and 1")
    wanted = {
        "kl": (float, "the mean KL in nats a completion"),
        "judged": (fraction, "the mean toxicity by the independent judge"),
    }
    kl_coef = entry(record, "kl_coef", float, "the β that you choose")
    before = entry(record, "judged_before", *wanted["judged"])
    if len(tried) < 2:
        raise NotYet(f"tried: {len(tried)} value; compare at least two.")
    measured = {
        beta: {name: entry(found, name, *what) for name, what in wanted.items()} for beta, found in tried.items()
    }
    chosen = measured.get(kl_coef)
    if chosen is None:
        raise NotYet(f"kl_coef: {kl_coef:g} is not among the values that you tried.")
    for name, what in wanted.items():
        given = entry(record, name, *what)
        if not abs(given - chosen[name]) <= CLOSE:
            raise NotYet(f"{name}: {given:.3f} is not the {chosen[name]:.3f} that `tried` holds for β = {kl_coef:g}.")
    allowed = [found["judged"] for found in measured.values() if found["kl"] <= HIGHEST_KL]
    if not allowed:
        raise NotYet("tried: none is within the limit; try a larger β.")
    if not chosen["kl"] <= HIGHEST_KL:
        raise NotYet(f"kl: {chosen['kl']:.2f} nats is more than {HIGHEST_KL:g}. A larger β keeps the policy closer.")
    if chosen["judged"] >= before:
        raise NotYet(f"judged: {chosen['judged']:.3f} is not below the {before:.3f} of the supervised model.")
    if chosen["judged"] > min(allowed):
        raise NotYet("kl_coef: another value that you tried is within the limit and kinder.")


def smallest_n(record):
    """The smallest n that removes enough toxicity."""
    judged = entry(
        record,
        "judged",
        lambda found: {int(n): fraction(value) for n, value in found.items()},
        "{n: mean toxicity by the independent judge, between 0 and 1}",
    )
    missing = sorted(set(range(1, MEASURED + 1)) - set(judged))
    if missing:
        raise NotYet(f"judged: holds n = {sorted(judged)}; measure n = {missing} too.")
    chosen = entry(record, "chosen", int, "the smallest n that reaches the goal")
    enough = [n for n in sorted(judged) if judged[n] <= LEFT * judged[1]]
    if not enough:
        raise NotYet(f"judged: no n leaves at most {LEFT:.0%} of the toxicity of n = 1; try larger ones.")
    if chosen != enough[0]:
        raise NotYet(f"chosen: {chosen} is not the smallest n that leaves at most {LEFT:.0%}.")
    skipped = sorted(set(range(1, chosen)) - set(judged))
    if skipped:
        raise NotYet(f"chosen: n = {skipped} may be enough too; measure every smaller n.")


EXPERIMENTS = (kl_budget, smallest_n)
CHECKS = (discounted_returns, kl_estimate, explained_variance, expected_best_of, pairs_of)
