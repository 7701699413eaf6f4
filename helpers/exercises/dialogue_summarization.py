"""Checks of the first lab's exercises: decoding, prompts, measuring."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from transformers import NoRepeatNGramLogitsProcessor

from helpers.data.prompts import SHIPPED
from helpers.exercises.expectations import (
    NotYet,
    entry,
    expect_indices,
    expect_number,
    fraction,
    fractions,
    pairs,
)

FEWEST_ROWS, FEWEST_TEMPLATES = 40, 3  # dialogues to choose a template by, and templates to choose from
WANTED_DIVERSITY, HIGHEST_PRICE = 0.6, 0.05  # distinct-2 of three drafts; ROUGE-L that they may cost
WRITTEN = [7, 3, 5, 7, 3, 9, 3, 5, 7, 3]
DIFFERENCES = (
    [0.3, 0.1, -0.05, 0.2],
    [0.02, -0.01, 0.03, 0.04, 0.01, -0.02, 0.05, 0.02],
    [-0.4, -0.1, -0.2],
    [0.1, -0.1],
)


def min_p(function):
    """The tokens whose probability is at least a share of the highest one, on known cases."""
    probabilities = [0.10, 0.50, 0.05, 0.30, 0.05]
    for share, expected in ((0.05, [0, 1, 2, 3, 4]), (0.15, [0, 1, 3]), (0.5, [1, 3]), (1.0, [1])):
        expect_indices(
            function(list(probabilities), share),
            expected,
            f"share {share} of {probabilities}",
            "The limit is share × the largest probability; a token that reaches it stays.",
        )


def banned_tokens(function):
    """The tokens that would repeat an n-gram, against transformers' processor."""
    for written, n in ((WRITTEN, 2), (WRITTEN, 3), ([1, 2, 3], 2), ([4, 4], 2), ([5], 2), ([6, 7], 3)):
        scores = NoRepeatNGramLogitsProcessor(n)(torch.tensor([written]), torch.zeros(1, 10))
        expect_indices(
            function(list(written), n),
            torch.isinf(scores[0]).nonzero().flatten().tolist(),
            f"written {written}, n = {n}",
            "Look for the last n − 1 tokens earlier in the list; what followed them there is banned.",
        )


def beam_step(function):
    """The best continuations of all beams together, by brute force."""
    rng = np.random.default_rng(4)
    for beams, tokens, width in ((1, 5, 3), (3, 4, 3), (2, 6, 4)):
        scores, logprobs = -np.sort(rng.random(beams) * 3), np.log(rng.dirichlet(np.ones(tokens), size=beams))
        ranked = sorted(
            itertools.product(range(beams), range(tokens)), key=lambda place: -(scores[place[0]] + logprobs[place])
        )
        what = f"{beams} beams, {tokens} tokens, width {width}"
        found = [
            (int(beam), int(token)) for beam, token in pairs(function(scores.copy(), logprobs.copy(), width), what)
        ]
        if found != ranked[:width]:
            raise NotYet(
                f"{what}: expected {ranked[:width]}, your function gives {found}. Add each beam's score to its row of "
                "log-probabilities, and rank all of them together."
            )


def exemplars_that_fit(function):
    """Dropping exemplars from the front until the rest fits, on known cases."""
    for lengths, budget, expected in (
        ([100, 90, 120], 260, [1, 2]),
        ([100, 90, 120], 1000, [0, 1, 2]),
        ([100, 90], 190, [0, 1]),
        ([300, 20, 30], 60, [1, 2]),
        ([20, 300, 30], 60, [2]),
        ([50, 60], 40, []),
        ([], 10, []),
    ):
        expect_indices(
            function(list(lengths), budget),
            expected,
            f"lengths {lengths}, budget {budget}",
            "The last exemplars stay longest: drop from the front, one at a time, until the rest fits.",
        )


def sign_flip_test(function):
    """The exact p-value of a paired difference, over all ways to give the differences signs."""
    for differences in DIFFERENCES:
        signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
        means = np.abs((signs * differences).mean(1))
        expect_number(
            function(list(differences)),
            (means >= abs(np.mean(differences)) - 1e-12).mean(),
            f"differences {differences} (count the given signs too, and compare absolute means)",
        )


def template_choice(record):
    """A template chosen on validation dialogues and measured once on test."""
    validation = entry(record, "validation", fractions, "{template: mean ROUGE-L on validation} for several templates")
    rows = entry(record, "rows", int, "the number of validation dialogues")
    chosen = entry(record, "chosen", str, "the name of the template that you choose")
    entry(record, "test", fraction, "the mean ROUGE-L of that template on the test dialogues")
    if rows < FEWEST_ROWS:
        raise NotYet(f"{rows} dialogues are too few to choose by: measure each template on at least {FEWEST_ROWS}.")
    if len(validation) < FEWEST_TEMPLATES:
        raise NotYet(f"validation: {len(validation)} templates; measure at least {FEWEST_TEMPLATES}.")
    if set(validation) <= set(SHIPPED):
        raise NotYet("validation: none of these templates is your own; add one to TEMPLATES under a new name.")
    if chosen not in validation or validation[chosen] < max(validation.values()):
        raise NotYet(f"chosen: {chosen!r} is not the template with the highest mean on validation.")


def draft_settings(record):
    """Sampling parameters that make drafts differ at a price that was fixed before."""
    diversity = entry(record, "diversity", fraction, "the mean distinct-2 of three drafts of each dialogue")
    quality = entry(record, "quality", fraction, "the mean ROUGE-L of these drafts")
    greedy = entry(record, "greedy", fraction, "the mean ROUGE-L of greedy decoding on the same dialogues")
    temperature = entry(record, "temperature", float, "the temperature")
    top_p = entry(record, "top_p", fraction, "the top-p")
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value <= 0:
            raise NotYet(f"{name}: {value:g} is not above 0.")
    if diversity < WANTED_DIVERSITY:
        raise NotYet(
            f"diversity {diversity:.2f} is below {WANTED_DIVERSITY}: the drafts are too alike. Which way is hotter?"
        )
    if quality < greedy - HIGHEST_PRICE:
        raise NotYet(
            f"quality {quality:.3f} is more than {HIGHEST_PRICE} below greedy's {greedy:.3f}: cut more of the tail."
        )


EXPERIMENTS = (template_choice, draft_settings)
CHECKS = (min_p, banned_tokens, beam_step, exemplars_that_fit, sign_flip_test)
