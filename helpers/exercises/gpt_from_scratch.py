"""Checks of the exercises on a decoder from scratch: targets, rotary positions, routing, balance, a cache's mask."""

from __future__ import annotations

import numpy as np
import torch

from helpers.exercises.expectations import (
    NotYet,
    entry,
    expect_number,
    expect_numbers,
    fraction,
    pairs,
    rows_of_numbers,
    shown,
    tried_values,
)
from helpers.transformer.gpt import rotated, rotations
from helpers.transformer.mixture_of_experts import Routing, balance_loss

FEWEST_RATES, SPAN = 4, 8  # rates to try; times the smallest that the largest must be
FEWEST_WEIGHTS, BUSIEST = 3, 0.35  # weights to try, 0 among them; share of the bytes that an expert may compute


def next_byte_rows(function):
    """Rows of inputs, and their targets one byte further."""
    for ids, length in ((list(range(10, 17)), 3), (list(range(9)), 4), ([5, 6, 7], 2), ([1, 2], 4)):
        what = f"ids {ids}, length {length}"
        found = pairs(function(list(ids), length), what)
        starts = range(0, len(ids) - length, length)
        wanted = [(ids[start : start + length], ids[start + 1 : start + length + 1]) for start in starts]
        if len(found) != len(wanted):
            raise NotYet(
                f"{what}: expected {len(wanted)} rows, your function gives {len(found)}. A row needs `length` inputs "
                "and one byte more, the last target."
            )
        for (inputs, targets), expected in zip(found, wanted):
            expect_numbers(inputs, expected[0], f"{what}, inputs")
            expect_numbers(targets, expected[1], f"{what}, targets (the inputs, moved by one byte)")


def turned_vector(function):
    """RoPE for one vector."""
    for vector, position in (([1.0, 0.0], 1), ([1.0, 2.0, 3.0, 4.0], 0), ([1.0, 2.0, 3.0, 4.0, -1.0, 0.5], 7)):
        wanted = rotated(torch.tensor(vector), *rotations(torch.tensor([position]), len(vector)))[0].tolist()
        what = f"vector {vector}, position {position} (numbers i and i + D/2 turn together; (1, 0) by t gives "
        expect_numbers(function(list(vector), position), wanted, what + "(cos t, sin t))")


def expert_weights(function):
    """A softmax over the chosen experts, 0 for the others."""
    for logits, chosen in (([2.0, 1.0, 0.0, 3.0], 2), ([0.0, 0.5, -1.0], 1), ([1.0, 4.0, 2.0], 3)):
        best = torch.tensor(logits).topk(chosen)
        wanted = torch.zeros(len(logits)).scatter(0, best.indices, best.values.softmax(0)).tolist()
        what = f"logits {logits}, {chosen} chosen (the weights of the chosen ones add up to 1, all others are 0)"
        expect_numbers(function(list(logits), chosen), wanted, what)


def real_balance(function):
    """The balance loss without padding."""
    rng = np.random.default_rng(0)
    for experts, kept in ((4, 6), (8, 3), (4, 8)):
        probabilities, real = rng.dirichlet(np.ones(experts), 8), np.arange(8) < kept
        chosen = np.argsort(-probabilities, 1)[:, :2]
        wanted = balance_loss(Routing(torch.tensor(probabilities), torch.tensor(chosen)), torch.tensor(real)).item()
        expect_number(
            function(probabilities.copy(), chosen.copy(), real.copy()),
            wanted,
            f"{experts} experts, {kept} of 8 bytes real (E · Σ f · P; f is the share of all choices of real bytes, P "
            "the mean probability over real bytes)",
        )


def cached_mask(function):
    """Who may look at whom behind a cache."""
    for past, new in ((0, 3), (4, 1), (2, 3)):
        what = f"past {past}, new {new}"
        found = rows_of_numbers(function(past, new), what)
        wanted = np.tril(np.ones((new, past + new)), past).tolist()
        if found != wanted:
            raise NotYet(
                f"{what}: expected {wanted}, your function gives {shown(found)}. Every new token sees all of the "
                "cache, itself, and the new ones before it."
            )


CHECKS = (next_byte_rows, turned_vector, expert_weights, real_balance, cached_mask)


def decoder_rate(record):
    """The rate with the lowest validation loss, of enough that are far enough apart."""
    losses = entry(
        record,
        "validation_loss",
        lambda found: {float(rate): float(loss) for rate, loss in found.items()},
        "{rate: nats a byte}",
    )
    if len(losses) < FEWEST_RATES or max(losses) < SPAN * min(losses):
        raise NotYet(
            f"validation_loss: {len(losses)} rates; try at least {FEWEST_RATES}, the largest at least {SPAN} times the "
            "smallest."
        )
    chosen = entry(record, "chosen", float, "the rate that you choose")
    if chosen not in losses or losses[chosen] > min(losses.values()):
        raise NotYet(f"chosen: {chosen:g} is not the rate with the lowest validation loss.")


def balance_weight(record):
    """Of the weights that keep the busiest expert within the limit, the one with the lowest validation loss."""
    tried = tried_values(record, float, "{weight: {'validation_loss': nats a byte, 'busiest': share}}")
    if len(tried) < FEWEST_WEIGHTS or 0 not in tried:
        raise NotYet(f"tried: {len(tried)} weights; try at least {FEWEST_WEIGHTS}, 0 among them.")
    losses = {weight: entry(found, "validation_loss", float, "nats a byte") for weight, found in tried.items()}
    busiest = {weight: entry(found, "busiest", fraction, "a share, from 0 to 1") for weight, found in tried.items()}
    allowed = {weight: loss for weight, loss in losses.items() if busiest[weight] <= BUSIEST}
    chosen = entry(record, "chosen", float, "the weight that you choose")
    if chosen not in allowed:
        raise NotYet(f"chosen: {chosen:g} was not tried, or its busiest expert computes more than {BUSIEST:.0%}.")
    if losses[chosen] > min(allowed.values()):
        raise NotYet("chosen: another weight within the limit has a lower validation loss.")


EXPERIMENTS = (decoder_rate, balance_weight)
