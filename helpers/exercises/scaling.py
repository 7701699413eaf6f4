"""Checks of the exercises on memory, several processes and scaling laws."""

from __future__ import annotations

import numpy as np

from helpers.exercises.expectations import NotYet, expect_number, expect_numbers, numbers
from helpers.training.memory import STRATEGIES, expected, sent
from helpers.training.scaling_laws import FLOPS, ScalingLaw


def sharded_bytes(function):
    """Bytes that each process holds of a model in float32 with Adam, at ZeRO's stages 0 to 3."""
    for parameters, processes in ((1000, 1), (1_000_000, 4), (4000, 8)):
        for stage, strategy in enumerate(STRATEGIES):
            expect_number(
                function(parameters, processes, stage),
                expected(parameters, "float32, Adam", strategy, processes).total,
                f"{parameters:,} parameters, {processes} processes, stage {stage} (4 + 4 + 8 bytes a parameter; "
                "stage 1 divides the 8, stage 2 a gradient's 4 too, "
                "stage 3 everything)",
            )


def ring_bytes(function):
    """Bytes that each process sends to add up a gradient in a ring."""
    for count, processes, size in ((1000, 2, 4), (1000, 4, 4), (1_000_000, 8, 2), (1000, 1, 4)):
        expect_number(
            function(count, processes, size),
            sent(count, processes, size=size),
            f"{count:,} numbers of {size} bytes, {processes} processes (two rounds; in each, every process "
            "passes on all parts but one, count / processes numbers a part)",
        )


def process_rows(function):
    """The numbers of the rows that a process takes."""
    for count, rank, processes in ((8, 0, 2), (8, 1, 2), (7, 2, 3), (3, 0, 1)):
        found, wanted = (
            numbers(function(count, rank, processes), f"{count} rows, process {rank} of {processes}"),
            list(range(rank, count, processes)),
        )
        if found != wanted:
            raise NotYet(
                f"{count} rows, process {rank} of {processes}: expected {wanted}, your function gives "
                f"{[int(value) for value in found]}. "
                "Rows are dealt like cards: each process takes every so-many-th, from its own number on."
            )


def combined_gradient(function):
    """The gradient of the mean over all labels, from means over each process's labels."""
    for gradients, counts in (
        ([[1.0, 2.0], [3.0, 0.0]], [5, 5]),
        ([[1.0, 2.0], [3.0, 0.0]], [9, 1]),
        ([[0.5], [1.5], [-1.0]], [10, 0, 30]),
    ):
        wanted = np.average(gradients, axis=0, weights=counts).tolist()
        expect_numbers(
            function([list(row) for row in gradients], list(counts)),
            wanted,
            f"gradients {gradients}, labels {counts} (each process counts for as much as it has labels)",
        )


def power_exponent(function):
    """α of (L − E) = A / N^α, by a straight line through the logarithms."""
    sizes = [1e4, 1e5, 1e6]
    for least, factor, exponent in ((0.0, 20.0, 0.3), (1.5, 20.0, 0.3), (0.7, 5.0, 0.12)):
        losses = [least + factor / size**exponent for size in sizes]
        expect_number(
            function(list(sizes), list(losses), least),
            exponent,
            f"sizes {sizes}, losses {np.round(losses, 3).tolist()}, E = {least} (take E off first; the slope of "
            "log(L − E) against log N, with its sign turned)",
        )


def best_of_sizes(function):
    """The size with the least loss, when every size spends the same operations."""
    law, sizes = ScalingLaw(1.0, 40.0, 0.35, 60.0, 0.4), [1e3, 1e4, 3e4, 1e5, 1e6]
    for flops in (1e9, 1e11, 1e13):
        wanted = min(sizes, key=lambda size: law.loss(size, flops / FLOPS / size))
        expect_number(
            function(list(sizes), flops, lambda size, tokens: float(law.loss(size, tokens))),
            wanted,
            f"sizes {sizes}, {flops:g} operations (each size gets flops / (6 · size) tokens; which of them has "
            "the least loss?)",
        )


CHECKS = (sharded_bytes, ring_bytes, process_rows, combined_gradient, power_exponent, best_of_sizes)
