"""Checks of the exercises on preferences: advantages of a group, the best policy, DPO's loss, the weight of a token."""

from __future__ import annotations

import numpy as np
import torch

from helpers.alignment.dpo import dpo_loss
from helpers.alignment.group_relative import group_advantages, leave_one_out_advantages
from helpers.exercises.expectations import NotYet, entry, expect_number, expect_numbers, fraction, tried_values

HIGHEST_KL = 2.0  # nats a completion, of the experiment with DPO's beta
FEWEST_SIZES = 3  # of groups, in the experiment with them
GROUPS = ([1.0, 3.0, 5.0, 7.0], [0.5, -0.5], [2.0, 2.0, 2.0], [-1.0, 4.0, 0.0])


def relative_advantages(function):
    """GRPO's advantages of one group."""
    for scores in GROUPS:
        expected = group_advantages(torch.tensor(scores, dtype=torch.float64), len(scores)).tolist()
        expect_numbers(
            function(list(scores)),
            expected,
            f"scores {scores} (score minus mean, divided by the standard deviation plus 0.0001; the deviation divides "
            "the sum of squares by n − 1)",
        )


def leave_one_out(function):
    """RLOO's advantages of one group."""
    for scores in GROUPS:
        expected = leave_one_out_advantages(torch.tensor(scores, dtype=torch.float64), len(scores)).tolist()
        expect_numbers(function(list(scores)), expected, f"scores {scores} (score minus the mean of the OTHER scores)")


def best_policy(function):
    """The policy that the reward with its KL penalty asks for."""
    for reference, rewards, beta in (
        ([0.5, 0.5], [1.0, 0.0], 1.0),
        ([0.1, 0.2, 0.7], [2.0, -1.0, 0.5], 0.5),
        ([0.25, 0.75], [3.0, 3.0], 0.1),
    ):
        weights = np.array(reference) * np.exp(np.array(rewards) / beta)
        expect_numbers(
            function(list(reference), list(rewards), beta),
            (weights / weights.sum()).tolist(),
            f"reference {reference}, rewards {rewards}, beta {beta} (they must add up to 1)",
        )


def pair_loss(function):
    """DPO's loss of one pair, from four log-probabilities of whole completions."""
    for better, worse, reference_better, reference_worse, beta in (
        (-10.0, -12.0, -10.0, -12.0, 0.1),
        (-9.0, -15.0, -10.0, -12.0, 0.5),
        (-12.0, -11.0, -10.0, -12.0, 1.0),
    ):
        new, old = (
            torch.tensor([[one], [other]], dtype=torch.float64)
            for one, other in ((better, worse), (reference_better, reference_worse))
        )
        expected = dpo_loss(new, old, torch.ones(2, 1, dtype=torch.bool), beta).loss.item()
        expect_number(
            function(better, worse, reference_better, reference_worse, beta),
            expected,
            f"log-probabilities {better} and {worse}, of the reference {reference_better} and {reference_worse}, beta "
            f"{beta} (where the policy is its reference, the loss is log 2)",
        )


def token_weights(function):
    """How much one token of each completion counts in a mean by completions, then by tokens."""
    for lengths in ([1, 3], [10, 10], [5, 20, 25]):
        by_completion = [1 / (len(lengths) * length) for length in lengths]
        by_token = [1 / sum(lengths)] * len(lengths)
        for whole, expected in ((True, by_completion), (False, by_token)):
            expect_numbers(
                function(list(lengths), whole),
                expected,
                f"lengths {lengths}, by_completion={whole} (all tokens of all completions add up to 1)",
            )


def dpo_budget(record):
    """A DPO policy within a given distance of its reference, the kindest of those that were tried."""
    tried = tried_values(record, float, "{beta: {'kl': …, 'judged': …}} of at least two values")
    before = entry(record, "judged_before", fraction, "the mean toxicity by the independent judge")
    chosen = entry(record, "chosen", float, "the β that you choose")
    if len(tried) < 2:
        raise NotYet(f"tried: {len(tried)} value; compare at least two.")
    allowed = {beta: fraction(found["judged"]) for beta, found in tried.items() if float(found["kl"]) <= HIGHEST_KL}
    if not allowed:
        raise NotYet(f"tried: every KL is above {HIGHEST_KL:g} nats. A larger β keeps the policy closer.")
    if chosen not in allowed:
        raise NotYet(f"chosen: {chosen:g} was not tried, or its KL is above {HIGHEST_KL:g} nats.")
    if allowed[chosen] > min(allowed.values()):
        raise NotYet("chosen: another β within the limit is kinder.")
    if allowed[chosen] >= before:
        raise NotYet(f"judged: {allowed[chosen]:.3f} is not below the {before:.3f} of the supervised model.")


def group_size(record):
    """Sizes of groups, with the same number of judged completions."""
    wanted = "{group size: {'completions': number, 'silent': share, 'judged': mean toxicity}}"
    tried = tried_values(record, int, wanted)
    if len(tried) < FEWEST_SIZES or min(tried, default=0) < 2:
        raise NotYet(f"tried: sizes {sorted(tried)}; try at least {FEWEST_SIZES}, each of 2 completions or more.")
    completions = {entry(found, "completions", int, "judged completions of the run") for found in tried.values()}
    if len(completions) > 1:
        raise NotYet(f"completions: {sorted(completions)}; give every run the same number of judged completions.")
    for found in tried.values():
        entry(found, "silent", fraction, "mean share of groups whose scores are all the same")
    judged = {size: entry(found, "judged", fraction, "the mean toxicity") for size, found in tried.items()}
    chosen = entry(record, "chosen", int, "the size that you choose")
    if chosen not in judged or judged[chosen] > min(judged.values()):
        raise NotYet(f"chosen: {chosen} is not the size with the least toxicity on validation dialogues.")


EXPERIMENTS = (dpo_budget, group_size)
CHECKS = (relative_advantages, leave_one_out, best_policy, pair_loss, token_weights)
