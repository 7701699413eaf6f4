"""Checks of the exercises on distillation: soft labels, divergence, the loss, its gradient, kept layers, the share of a
gap.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softmax

from helpers.compression.distillation import distillation_loss, kept_layers, soft_loss, soften
from helpers.exercises.expectations import expect_number, expect_numbers

STUDENT, TEACHER = (0.5, -0.2, 0.1, 1.3), (3.0, 1.0, 0.2, -2.0)
CASES = ((STUDENT, TEACHER), (TEACHER, STUDENT), ((0.0, 0.0, 0.0), (4.0, -1.0, 2.5)))


def _row(values):
    return torch.tensor([values], dtype=torch.float64)


def soft_labels(function):
    """A softened distribution."""
    for _, logits in CASES:
        for temperature in (1, 2, 8):
            expect_numbers(
                function(list(logits), temperature),
                soften(_row(logits), temperature)[0].tolist(),
                f"logits {logits}, T = {temperature} (each logit over T, then softmax)",
            )


def divergence(function):
    """KL(teacher ‖ student) of two distributions."""
    for student, teacher in CASES:
        chances = [softmax(_row(logits), -1)[0].tolist() for logits in (teacher, student)]
        shown = [[round(chance, 2) for chance in row] for row in chances]
        expect_number(
            function(*chances),
            soft_loss(_row(student), _row(teacher), 1.0).item(),
            f"teacher {shown[0]}, student {shown[1]} (the teacher's probability times the logarithm of the "
            "teacher's over the student's, summed)",
        )
    expect_number(
        function([0.0, 1.0], [0.5, 0.5]),
        0.6931472,
        "teacher [0, 1], student [0.5, 0.5] (a probability of 0 adds nothing)",
    )


def student_loss(function):
    """Both parts together."""
    for student, teacher in CASES:
        for alpha, temperature in ((0.5, 2), (0.9, 4), (0, 3), (1, 1)):
            expected = distillation_loss(_row(student), _row(teacher), torch.tensor([1]), alpha, temperature).item()
            expect_number(
                function(list(student), list(teacher), 1, alpha, temperature),
                expected,
                f"student {student}, teacher {teacher}, label 1, alpha {alpha}, T = {temperature} "
                "(α·T²·KL of both at T, plus 1 − α times −log of the student's probability of the label at T = 1)",
            )


def soft_gradient(function):
    """What T² · KL does to each logit of the student."""
    for student, teacher in CASES:
        for temperature in (1, 2, 5):
            logits = _row(student).requires_grad_(True)
            (temperature**2 * soft_loss(logits, _row(teacher), temperature)).sum().backward()
            expect_numbers(
                function(list(student), list(teacher), temperature),
                logits.grad[0].tolist(),
                f"student {student}, teacher {teacher}, T = {temperature} (T · (softened student − softened teacher))",
            )


def layers_to_keep(function):
    """Evenly spaced layers."""
    for layers, kept in ((12, 4), (3, 1), (12, 2), (6, 3), (24, 5), (3, 3)):
        expect_numbers(
            function(layers, kept),
            kept_layers(layers, kept),
            f"{kept} of {layers} layers (numbered from 0; the first always, from two on the last as well, the "
            "others evenly between them)",
        )


def share_of_gap(function):
    """How much of the way to the teacher."""
    for without, taught, teacher in (
        ([0.4, 0.5], [0.5, 0.5], [0.7, 0.8]),
        ([2.0, 1.0, 1.5], [1.5, 1.2, 1.2], [0.5, 0.4, 0.3]),
    ):
        gain = sum(after - before for after, before in zip(taught, without))
        gap = sum(best - before for best, before in zip(teacher, without))
        expect_number(
            function(without, taught, teacher),
            gain / gap,
            f"without {without}, with {taught}, teacher {teacher} (the mean gain over the mean gap; a mean of "
            "the shares of single rows "
            "would depend most on rows with almost no gap)",
        )


CHECKS = (soft_labels, divergence, student_loss, soft_gradient, layers_to_keep, share_of_gap)
