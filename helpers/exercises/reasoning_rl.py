"""Checks of the exercises on rewards by rule: size of a group, draws, a careful vote, steps that read the problem."""

from __future__ import annotations

from collections import Counter

import numpy as np

from helpers.applications.solutions import pass_at_k
from helpers.exercises.expectations import NotYet, entry, expect_number, fraction, shown, tried_values

FEWEST_TEMPERATURES = 3  # of the experiment with them
WORTH = 0.05  # by how much a rule must be better than form alone


def smallest_group(function):
    """The smallest group that is useful often enough."""
    for p, wanted in ((0.5, 0.4), (0.5, 0.5), (0.5, 0.9), (0.1, 0.5), (0.95, 0.5), (0.02, 0.9)):
        size = 2
        while 1 - p**size - (1 - p) ** size < wanted:
            size += 1
        expect_number(
            function(p, wanted),
            size,
            f"p = {p}, wanted {wanted} (a group is useless where all are right, p^G, or all are wrong, (1 − p)^G)",
        )


def draws_needed(function):
    """The smallest k whose pass@k is high enough."""
    for count, right, wanted in ((10, 5, 0.9), (32, 4, 0.5), (8, 8, 0.99), (16, 1, 0.75), (10, 0, 0.1)):
        row = np.arange(count)[None] < right
        found = next((k for k in range(1, count + 1) if pass_at_k(row, k)[0] >= wanted - 1e-9), None)
        case = f"count = {count}, right = {right}, wanted {wanted} (draws are taken without putting them back)"
        given = function(count, right, wanted)
        if found is None:
            if given is not None:
                raise NotYet(f"{case}: no k reaches it, so None is wanted, your function returns {shown(given)}.")
        else:
            expect_number(given, found, case)


def careful_vote(function):
    """An answer that a share of all draws agree on."""
    for answers, share in (
        ([3, 3, 3, 4], 0.5),
        ([3, 3, 4, 4], 0.5),
        ([4, 3, 4, 3], 0.4),
        ([3, 3, None, None, None], 0.3),
        ([3, 3, None, None, None], 0.5),
        ([None, None], 0.1),
        ([0, 0, 0, 1], 0.6),
        ([5, 6, 5], 0.3),
    ):
        counted = Counter(answer for answer in answers if answer is not None).most_common(1)
        expected = counted[0][0] if counted and counted[0][1] > share * len(answers) else None
        case = f"answers {answers}, share {share} (MORE than the share, of all draws, those without an answer too)"
        given = function(list(answers), share)
        if expected is not None:
            expect_number(given, expected, case)
        elif given is not None:
            raise NotYet(f"{case}: None is wanted, your function returns {shown(given)}.")


def grounded(function):
    """A reward for steps whose numbers come from somewhere."""
    for steps, numbers, expected, why in (
        ([(3, "*", 4, 12), (12, "+", 5, 17)], [3, 4, 5], 1.0, "12 is the result of an earlier step"),
        ([(2, "+", 2, 4)], [3, 4, 5], 0.0, "2 does not stand in the problem"),
        ([(3, "*", 4, 12), (12, "+", 9, 21)], [3, 4, 5], 0.0, "9 does not stand in the problem"),
        ([(3, "*", 4, 12), (12, "+", 5, 17), (9, "+", 17, 26)], [3, 4, 5], 0.0, "9 does not stand in the problem"),
        ([(3, "*", 4, 12), (12, "+", 5, 17), (17, "+", 9, 26)], [3, 4, 5], 0.0, "9 does not stand in the problem"),
        ([(3, "+", 4, 7), (7, "*", 3, 21)], [3, 4], 1.0, "3 is used twice, and that is allowed"),
        ([(12, "+", 5, 17), (3, "*", 4, 12)], [3, 4, 5], 0.0, "12 is used before a step has computed it"),
        ([(3, "*", 4, 12)], [3, 4, 5], 0.0, "5 is never used"),
        ([(6, "*", 6, 36), (36, "+", 2, 38)], [6, 6, 2], 1.0, "a number may be used more than once"),
        ([], [3, 4, 5], 0.0, "no number is used"),
    ):
        expect_number(function(list(steps), list(numbers)), expected, f"steps {steps}, numbers {numbers} ({why})")


def smallest_limit(function):
    """The shortest limit under which most right solutions still earn."""
    for lengths, right, share in (
        ([16, 14, 3, 3], [True, True, True, False], 1.0),
        ([16, 14, 3, 3], [True, True, True, False], 0.6),
        ([10, 20, 30, 40], [True] * 4, 0.5),
        ([50, 9, 12], [False, True, True], 0.9),
        ([5, 6], [False, False], 0.5),
    ):
        kept = sorted(length for length, good in zip(lengths, right) if good)
        limits = (limit for limit in kept if sum(length <= limit for length in kept) >= share * len(kept))
        expect_number(
            function(list(lengths), list(right), share),
            next(limits, 0),
            f"lengths {lengths}, right {right}, share {share} (of the RIGHT ones; a solution as long as the limit is "
            "whole)",
        )


def temperature_choice(record):
    """The temperature for one draw, and for eight."""
    tried = tried_values(record, float, "{temperature: {'pass_1': …, 'pass_8': …}} of at least three temperatures")
    if len(tried) < FEWEST_TEMPERATURES:
        raise NotYet(f"tried: {len(tried)} temperatures; try at least {FEWEST_TEMPERATURES}.")
    found = {
        name: {temperature: entry(row, name, fraction, f"the mean {name}") for temperature, row in tried.items()}
        for name in ("pass_1", "pass_8")
    }
    for temperature, row in tried.items():
        if found["pass_8"][temperature] < found["pass_1"][temperature]:
            raise NotYet(f"temperature {temperature:g}: pass@8 is below pass@1, which cannot be: {row}.")
    for field, name in (("for_one", "pass_1"), ("for_eight", "pass_8")):
        chosen = entry(record, field, float, "a temperature that you tried")
        if chosen not in tried or found[name][chosen] < max(found[name].values()):
            raise NotYet(f"{field}: {chosen:g} is not the temperature with the largest {name}.")


def closed_trap(record):
    """A rule without answers that is better than form alone."""
    shares = {
        name: entry(record, name, fraction, "the share of right results on validation problems")
        for name in ("form_alone", "your_rule", "before")
    }
    if shares["your_rule"] < shares["form_alone"] + WORTH:
        raise NotYet(
            f"your_rule: {shares['your_rule']:.2f} is not better than form alone, {shares['form_alone']:.2f}, by "
            f"{WORTH:g}. Does your rule look at the problem's numbers?"
        )
    if shares["your_rule"] <= shares["before"]:
        raise NotYet(f"your_rule: {shares['your_rule']:.2f} is not above the {shares['before']:.2f} before training.")


EXPERIMENTS = (temperature_choice, closed_trap)
CHECKS = (smallest_group, draws_needed, careful_vote, grounded, smallest_limit)
