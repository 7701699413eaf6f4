"""Checks of the exercises on pruning: masks, two of four, importance by activation, bytes, neurons taken out whole,
steps that keep zeros.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import prune

from helpers.compression.pruning import stored_bytes, two_of_four
from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, rows_of_numbers

ROWS = ((0.4, -1.0, 0.25, 0.7, -0.1), (3.1, 0.2, -0.7, 1.4), (-0.05, 0.02, 0.9, -0.6, 0.3, -0.8, 0.11, 2.0))


def _layer(weights):
    layer = nn.Linear(len(weights), 1, bias=False, dtype=torch.float64)
    layer.weight.data = torch.tensor([weights], dtype=torch.float64)
    return layer


def _kept(weights, sparsity):
    """The mask that torch makes."""
    layer = _layer(weights)
    prune.l1_unstructured(layer, "weight", amount=round(sparsity * len(weights)))
    return layer.weight_mask[0].tolist()


def magnitude_mask(function):
    """1 for what stays, 0 for the share with the smallest magnitudes."""
    for weights in ROWS:
        for sparsity in (0.5, 0.25, 0.0):
            expect_numbers(
                function(list(weights), sparsity),
                _kept(weights, sparsity),
                f"weights {weights}, sparsity {sparsity} (0 for the {round(sparsity * len(weights))} of least "
                "magnitude, signs aside; 1 for the others)",
            )


def fours_mask(function):
    """Two of every four neighbours."""
    for weights in (ROWS[1], ROWS[2], (5.0, 4.0, 3.0, 2.0, 0.1, -0.2, 0.3, -0.4)):
        expect_numbers(
            function(list(weights)),
            (two_of_four(nn.Sequential(_layer(weights)), ["0"])[0].weight[0] != 0).int().tolist(),
            f"weights {weights} (each four neighbours by themselves: the two of largest magnitude stay, however "
            "small they are beside the next four)",
        )


def activation_scores(function):
    """Wanda's score of each weight."""
    weights = [[0.4, -1.0, 0.25], [-2.0, 0.1, 0.6]]
    for inputs in (
        [[1.0, 0.0, 3.0], [1.0, 0.5, -4.0]],
        [[0.2, -0.1, 0.0]],
        [[3.0, 1.0, 1.0], [4.0, -1.0, 0.0], [0.0, 1.0, 2.0]],
    ):
        wanted = (
            torch.tensor(weights, dtype=torch.float64).abs() * torch.tensor(inputs, dtype=torch.float64).norm(dim=0)
        ).tolist()
        what = (
            f"{len(weights)} rows of weights, {len(inputs)} tokens (each weight's magnitude times the root "
            "of the summed squares of its own input over all tokens)"
        )
        found = rows_of_numbers(function([list(row) for row in weights], [list(row) for row in inputs]), what)
        if len(found) != len(wanted):
            raise NotYet(f"{what}: expected {len(wanted)} rows, your function gives {len(found)}.")
        for row, expected in zip(found, wanted):
            expect_numbers(row, expected, what)


def bitmap_bytes(function):
    """A bit for each place, the values that are left."""
    generator = torch.Generator().manual_seed(7)
    for rows, columns, sparsity in ((8, 16, 0.5), (16, 64, 0.9), (4, 32, 0.0), (10, 24, 0.75)):
        weight = torch.rand(rows, columns, generator=generator) + 0.1
        weight.view(-1)[: round(sparsity * weight.numel())] = 0
        left = int((weight != 0).sum())
        expect_number(
            function(rows * columns, left, 4),
            stored_bytes(weight)["bitmap"],
            f"{rows * columns} weights, {left} of them not zero, 4 bytes each (8 places share a byte, and only "
            "what is not zero is stored as a value)",
        )


def without_neuron(function):
    """One neuron out of a gated layer: its row of both first matrices, its column of the last."""
    gate, linear = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 1.0], [2.0, 3.0]]
    out = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    for index in (0, 1, 2):
        what = f"three neurons of width 2, number {index} goes (its row in wi_0 and in wi_1, its column in wo)"
        found = function([list(row) for row in gate], [list(row) for row in linear], [list(row) for row in out], index)
        if not isinstance(found, tuple | list) or len(found) != 3:
            raise NotYet(
                f"{what}: your function returns None. Replace the `...` and return the three matrices."
                if found in (None, ...)
                else f"{what}: expected three matrices, wi_0, wi_1 and wo."
            )
        rows = [place for place in range(3) if place != index]
        for name, matrix, wanted in zip(
            ("wi_0", "wi_1", "wo"),
            found,
            ([gate[row] for row in rows], [linear[row] for row in rows], [[line[row] for row in rows] for line in out]),
        ):
            if rows_of_numbers(matrix, f"{what}, {name}") != wanted:
                raise NotYet(f"{what}: {name} should be {wanted}, your function gives {matrix}.")


def sparse_step(function):
    """One step of gradient descent that leaves zeros alone."""
    for weights, gradients, rate in (
        ([0.5, 0.0, -1.0], [0.2, 3.0, -0.4], 0.1),
        ([0.0, 0.0, 2.0, 0.3], [1.0, -1.0, 0.5, 0.0], 0.5),
    ):
        moved = [weight - rate * gradient if weight else 0.0 for weight, gradient in zip(weights, gradients)]
        expect_numbers(
            function(list(weights), list(gradients), rate),
            moved,
            f"weights {weights}, gradients {gradients}, rate {rate} (what is exactly zero stays zero, whatever "
            "its gradient; the others move against theirs)",
        )


CHECKS = (magnitude_mask, fours_mask, activation_scores, bitmap_bytes, without_neuron, sparse_step)
