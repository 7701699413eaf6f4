"""Calibration: whether a model that is 80% sure is right in 80% of the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.evaluation.statistics import Interval, mean_interval, percentile_interval

BINS = 5


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence: their mean confidence (0 to 1), how many are right, and how many there are."""

    confidence: float
    accuracy: Interval
    count: int


def _checked(confidences, right, bins):
    """Both as arrays, (N,) each."""
    sure, hits = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    if sure.shape != hits.shape or sure.ndim != 1:
        raise ValueError(f"right: shape {hits.shape} for confidences of shape {sure.shape}; give one of each an answer")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError(f"confidences: run from {sure.min():.3g} to {sure.max():.3g}; give probabilities, 0 to 1")
    if not 1 <= bins <= len(sure) // 2:
        raise ValueError(f"bins={bins!r}: {len(sure)} answers allow 1 to {len(sure) // 2}, two answers in each")
    return sure, hits


def reliability(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> list[Bin]:
    """Bins of as many answers each, from the least to the most confident.

    Args:
        confidences: N probabilities of the chosen answers; right: N numbers, 1 where the answer is right, else 0.
    Raises:
        ValueError: unequal lengths, a confidence that is no probability, too many bins.
    """
    sure, hits = _checked(confidences, right, bins)
    order = np.argsort(sure, kind="stable")
    return [Bin(float(sure[part].mean()), mean_interval(hits[part]), len(part)) for part in np.array_split(order, bins)]


def _error(sure, hits, bins, axis=-1):
    """The error along the last axis, over which scipy draws anew."""
    order = np.argsort(sure, axis=axis, kind="stable")
    gaps = np.take_along_axis(sure - hits, order, axis=axis)
    return sum(abs(part.sum(axis)) for part in np.array_split(gaps, bins, axis=axis)) / sure.shape[axis]


def calibration_error(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> Interval:
    """The expected calibration error: |confidence − accuracy|, averaged over bins of as many answers each.

    With few answers it lies above 0 for a perfectly calibrated model too: compare it with `calibrated_error`.

    Args:
        confidences, right: as for `reliability`.
    Raises:
        ValueError: as there.
    Source: Naeini et al. 2015 (its definition); Nguyen and O'Connor 2015 (bins of equal size).
    """
    sure, hits = _checked(confidences, right, bins)
    order = np.lexsort((hits, sure))  # so that the draws do not depend on the order of the answers
    sure, hits = sure[order], hits[order]
    return percentile_interval((sure, hits), lambda *drawn, axis=-1: _error(*drawn, bins, axis), 0.95, 2000, 0)


def calibrated_error(confidences: Sequence[float], bins: int = BINS, seed: int = 0) -> float:
    """The error that a perfectly calibrated model with these confidences stays below in 95 of 100 tests.

    Its answers are drawn: each is right with the probability that it claims.
    """
    sure, _ = _checked(confidences, np.zeros(len(confidences)), bins)
    hits = np.random.default_rng(seed).random((2000, len(sure))) < sure
    return float(np.quantile(_error(np.broadcast_to(sure, hits.shape), hits, bins), 0.95))
