"""Checks of the exercises on human feedback: consensus, agreement, preference as a probability, the pairwise loss."""

from __future__ import annotations

from itertools import combinations

import torch

from helpers.alignment.human_feedback import Ranking, consensus
from helpers.alignment.reward_model import pairwise_loss
from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, numbers


def mean_ranks(function):
    """The mean place of each completion over labelers, counted from 0."""
    for orders in ([[0, 1, 2]], [[2, 0, 1], [2, 1, 0], [0, 2, 1]], [[1, 0], [0, 1]]):
        expected = [sum(order.index(number) for order in orders) / len(orders) for number in range(len(orders[0]))]
        expect_numbers(
            function([list(order) for order in orders]),
            expected,
            f"orders {orders}, best first (for each completion the mean of its places, from 0, not the order itself)",
        )


def consensus_order(function):
    """The order by mean rank, best first."""
    for orders in ([[2, 0, 1], [2, 1, 0], [0, 2, 1]], [[3, 1, 0, 2]], [[0, 1, 2], [1, 2, 0], [1, 0, 2]]):
        expected = list(
            consensus([Ranking(str(number), "i", tuple(order)) for number, order in enumerate(orders)])["i"]
        )
        found = numbers(function([list(order) for order in orders]), f"orders {orders}")
        if found != expected:
            raise NotYet(
                f"orders {orders}, best first: expected {expected}, your function gives {found}. The smallest "
                "mean place comes first."
            )


def shared_pairs(function):
    """The share of pairs that two labelers put in the same order."""
    for one, other in (([0, 1, 2], [0, 1, 2]), ([0, 1, 2], [2, 1, 0]), ([0, 1, 2, 3], [1, 0, 2, 3]), ([1, 0], [0, 1])):
        same = [
            (one.index(a) < one.index(b)) == (other.index(a) < other.index(b))
            for a, b in combinations(range(len(one)), 2)
        ]
        expect_number(
            function(list(one), list(other)),
            sum(same) / len(same),
            f"orders {one} and {other} (of all n(n−1)/2 pairs, those in the same order)",
        )


def preference_probability(function):
    """σ(r_better − r_worse): how likely the first of two is preferred, in Bradley and Terry's model."""
    for first, second in ((1.0, 1.0), (2.0, 0.0), (-1.0, 3.0), (0.0, -0.5)):
        expect_number(
            function(first, second),
            torch.sigmoid(torch.tensor(first - second, dtype=torch.float64)).item(),
            f"scores {first} and {second} (1 / (1 + exp(−difference)); equal scores give 0.5)",
        )


def preference_loss(function):
    """−log σ(r_better − r_worse), mean over the pairs."""
    for better, worse in (([1.0], [1.0]), ([2.0, -1.0], [0.0, 0.0]), ([0.5, 3.0, -2.0], [1.5, -1.0, -2.5])):
        expected = pairwise_loss(
            torch.tensor(better, dtype=torch.float64), torch.tensor(worse, dtype=torch.float64)
        ).item()
        expect_number(
            function(list(better), list(worse)),
            expected,
            f"scores of the better {better}, of the worse {worse} (the mean of −log σ(difference))",
        )


CHECKS = (mean_ranks, consensus_order, shared_pairs, preference_probability, preference_loss)
