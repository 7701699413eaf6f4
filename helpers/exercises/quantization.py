"""Checks of the exercises on quantization: scales, integers, zero points, bytes, packed pairs, the straight-through
gradient.
"""

from __future__ import annotations

import torch

from helpers.compression.quantization import absmax, zero_point
from helpers.exercises.expectations import expect_number, expect_numbers

ROWS = ((0.4, -1.0, 0.25), (3.1, 0.2, -0.7, 1.4), (-0.05, 0.02), (-6.0, -1.5, -2.2))


def _cases():
    return [(values, bits, torch.tensor([values], dtype=torch.float64)) for values in ROWS for bits in (8, 4, 3)]


def absmax_scale(function):
    """The value of one step of the integers."""
    for values, bits, row in _cases():
        expect_number(
            function(list(values), bits),
            absmax(row, bits).scale.item(),
            f"weights {values}, {bits} bits (the largest magnitude, over the largest integer 2^(bits − 1) − 1 = "
            f"{2 ** (bits - 1) - 1})",
        )


def absmax_integers(function):
    """The integers of a group."""
    for values, bits, row in _cases():
        expect_numbers(
            function(list(values), bits),
            absmax(row, bits).integers[0].tolist(),
            f"weights {values}, {bits} bits (each weight over the scale, rounded to the nearest integer)",
        )


def zero_integer(function):
    """The integer that means 0."""
    for values, bits, row in _cases():
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        expect_number(
            function(list(values), bits),
            zero_point(row, bits).zero_point.item(),
            f"weights {values}, {bits} bits (integers from {low} to {high} for numbers from min to max, 0 "
            "always among them: "
            f"{low} − round(min / scale))",
        )


def quantized_bytes(function):
    """Integers and scales together."""
    for count, bits, group, scale_bytes in (
        (1024, 4, 32, 4),
        (1024, 8, 1024, 4),
        (98304, 4, 32, 2),
        (600, 3, 100, 2),
        (192, 2, 64, 4),
    ):
        expect_number(
            function(count, bits, group, scale_bytes),
            count * bits / 8 + count / group * scale_bytes,
            f"{count} weights of {bits} bits, a scale of {scale_bytes} bytes for every {group} (8 bits are a "
            "byte; the scales count too)",
        )


def packed_pairs(function):
    """Two signed integers of 4 bits in each byte."""
    for values in ([1, 2], [-1, 7], [-8, 0, 3, -3], [0, -1]):
        expected = [(low & 15) | (high & 15) << 4 for low, high in zip(values[::2], values[1::2])]
        expect_numbers(
            function(list(values)),
            expected,
            f"integers {values} (the first of each pair in the lower four bits, the second in the upper; −1 is "
            "15, as value & 15 gives it)",
        )


def straight_through_step(function):
    """One step of gradient descent through the rounding."""
    for weights, targets, scale, rate in (
        ([0.2, 0.9], [0.0, 1.0], 0.5, 0.1),
        ([-0.3, 1.2, 0.4], [1.0, 1.0, 1.0], 1.0, 0.25),
        ([2.3], [1.9], 0.25, 0.5),
    ):
        row = torch.tensor(weights, dtype=torch.float64)
        moved = row - rate * 2 * ((row / scale).round() * scale - torch.tensor(targets, dtype=torch.float64))
        expect_numbers(
            function(list(weights), list(targets), scale, rate),
            moved.tolist(),
            f"weights {weights}, targets {targets}, scale {scale}, rate {rate} (the gradient 2·(rounded − "
            "target) is taken at the rounded weight, "
            "and moves the weight that was not rounded)",
        )


CHECKS = (absmax_scale, absmax_integers, zero_integer, quantized_bytes, packed_pairs, straight_through_step)
