"""Checks of the second lab's exercises: labels, losses, LoRA, the memory of an optimiser."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from helpers.data.pairs import IGNORED
from helpers.exercises.expectations import NotYet, entry, expect_number, expect_numbers, rows_of_numbers
from helpers.training.finetuning_methods import lora_parameters

FEWEST_TRIED, LARGEST_SHARE = 3, 0.02  # adapters to compare; trained / all parameters that the server has room for
FEWEST_AMOUNTS, CLOSE = 4, 0.03  # amounts of dialogues to measure; nats a token
OUT, IN, RANK = 6, 4, 2  # shapes of the small matrices that LoRA's checks use


def padded_labels(function):
    """Labels of unequal length, filled up with what the loss leaves out."""
    for rows in ([[5, 6, 1], [7, 1]], [[9, 1]], [[4, 1], [8, 3, 0, 1], [1]]):
        width = max(map(len, rows))
        wanted = [row + [IGNORED] * (width - len(row)) for row in rows]
        found = rows_of_numbers(function([list(row) for row in rows]), f"labels {rows}")
        if found != wanted:
            raise NotYet(
                f"labels {rows}: expected {wanted}, your function gives {[list(map(int, row)) for row in found]}. "
                "All rows become as long as the longest; what is added must not count in the loss; a 0 inside "
                "is a token like any other."
            )


def masked_cross_entropy(function):
    """The mean over labels that count, against torch's."""
    generator = torch.Generator().manual_seed(3)
    for shape, labels in (
        ((4, 5), [1, 4, IGNORED, IGNORED]),
        ((3, 7), [0, 6, 2]),
        ((5, 3), [2, IGNORED, 1, IGNORED, 0]),
    ):
        logits = torch.randn(*shape, generator=generator)
        expect_number(
            function(logits.numpy().astype(float), np.array(labels)),
            cross_entropy(logits, torch.tensor(labels)).item(),
            f"logits of shape {shape}, labels {labels} (natural logarithm; divide by the number of labels that count)",
        )


def trainable_share(function):
    """What part of the parameters LoRA trains, itself counted in the total."""
    for shapes, rank, total in (
        ([(512, 64)], 8, 32768),
        ([(768, 768)] * 72, 32, 247_577_856),
        ([(10, 20), (20, 5)], 1, 1000),
    ):
        trained = lora_parameters(rank, shapes)
        expect_number(
            function(shapes, rank, total),
            trained / (total + trained),
            f"{len(shapes)} matrices, the first {shapes[0]}, rank {rank}, {total:,} parameters before "
            "(the adapter's own parameters belong to both sides of the fraction)",
        )


def _low_rank():
    generator = np.random.default_rng(5)
    return (generator.normal(size=shape) for shape in ((OUT, IN), (RANK, IN), (OUT, RANK)))


def lora_forward(function):
    """x through W and, apart from it, through A and B."""
    weight, a, b = _low_rank()
    x = np.random.default_rng(6).normal(size=IN)
    for alpha in (RANK, 8.0):
        expect_numbers(
            function(x, weight, a, b, alpha),
            weight @ x + alpha / RANK * b @ (a @ x),
            f"x of {IN}, W {weight.shape}, A {a.shape}, B {b.shape}, alpha {alpha:g} (the rank is A's number of "
            "rows; the scale is alpha/rank)",
        )


def merged_weight(function):
    """One matrix that does what W, A and B do together."""
    weight, a, b = _low_rank()
    before = weight.copy()
    for alpha in (RANK, 8.0):
        what = f"W {weight.shape}, A {a.shape}, B {b.shape}, alpha {alpha:g}"
        found = rows_of_numbers(function(weight, a, b, alpha), what)
        if np.shape(found) != weight.shape:
            raise NotYet(
                f"{what}: expected a matrix of shape {weight.shape}, your function gives one of {np.shape(found)}."
            )
        if not np.allclose(found, before + alpha / RANK * b @ a, atol=1e-8):
            raise NotYet(
                f"{what}: applied to a vector, your matrix does not give what W and the adapter give together; "
                "scale B·A with alpha/rank."
            )
        if not np.array_equal(weight, before):
            raise NotYet(
                f"{what}: your function changed W itself. The original must stay as it was: return a new matrix."
            )


def adam_bytes(function):
    """Gradients and Adam's two moments, for what is trained and nothing else."""
    for total, trainable, size in ((1000, 1000, 4), (251_116_800, 3_538_944, 4), (1000, 10, 2)):
        expect_number(
            function(total, trainable, size),
            3 * trainable * size,
            f"{total:,} parameters, {trainable:,} of them trainable, {size} bytes a number "
            "(frozen weights need neither a gradient nor moments)",
        )


def lora_budget(record):
    """The best of several adapters within a budget of parameters, by the validation loss."""
    chosen = entry(record, "chosen", str, "the name of the adapter that you choose")
    tried = entry(record, "tried", dict, "{name: {'share': trained / all, 'validation_loss': the lowest}}")
    shares, losses = (
        {name: entry(found, key, float, what) for name, found in tried.items()}
        for key, what in (("share", "trained / all, between 0 and 1"), ("validation_loss", "in nats a token"))
    )
    allowed = {name: loss for name, loss in losses.items() if shares[name] <= LARGEST_SHARE}
    if len(allowed) < FEWEST_TRIED:
        raise NotYet(
            f"tried: {len(allowed)} within the budget of {LARGEST_SHARE:.0%}; compare at least {FEWEST_TRIED}."
        )
    if chosen not in allowed:
        raise NotYet(f"chosen: {chosen!r} is not among the adapters that train at most {LARGEST_SHARE:.0%}.")
    if losses[chosen] > min(allowed.values()):
        raise NotYet("chosen: another adapter within the budget has a lower validation loss.")


def enough_examples(record):
    """The smallest amount of dialogues that comes close to all of them."""
    wanted = "{amount of dialogues: the lowest validation loss}"
    losses = entry(record, "validation_loss", lambda found: {int(n): float(loss) for n, loss in found.items()}, wanted)
    chosen = entry(record, "chosen", int, "the smallest amount that comes close enough")
    if len(losses) < FEWEST_AMOUNTS:
        raise NotYet(
            f"validation_loss: {len(losses)} amounts; measure at least {FEWEST_AMOUNTS}, all of them included."
        )
    enough = [amount for amount in sorted(losses) if losses[amount] <= losses[max(losses)] + CLOSE]
    if chosen != enough[0]:
        raise NotYet(f"chosen: {chosen} is not the smallest amount at most {CLOSE} nats above all dialogues.")


EXPERIMENTS = (lora_budget, enough_examples)
CHECKS = (padded_labels, masked_cross_entropy, trainable_share, lora_forward, merged_weight, adam_bytes)
