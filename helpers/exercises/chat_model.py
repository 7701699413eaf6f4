"""Checks of the exercises on a chat model: template, cache, rotary positions, options, calibration, perplexity."""

from __future__ import annotations

import math

import numpy as np
import torch
from transformers.models.llama.modeling_llama import rotate_half

from helpers.evaluation.calibration import calibration_error
from helpers.exercises.expectations import NotYet, entry, expect_number, expect_numbers, expect_text, fraction

FEWEST_SHOTS, NEAR = 4, 0.05  # numbers of shots to measure; one answer in twenty
FEWEST_GROUPS, MAX_RISE = 3, 0.4  # sizes of groups to measure; nats a token above float32


def chat_text(function):
    """Messages in the template of ChatML."""
    question, answer = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So.\nThat is all."}
    for messages in ([question], [{"role": "system", "content": "Be short."}, question], [question, answer, question]):
        turns = [f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages]
        wanted = "".join(turns) + "<|im_start|>assistant\n"
        expect_text(function([dict(message) for message in messages]), wanted, f"messages {messages}")


def cache_bytes(function):
    """Keys and values of all layers, of those heads that have them."""
    for layers, kv_heads, width, tokens, size in ((30, 3, 64, 1, 4), (32, 8, 128, 8192, 2), (2, 1, 10, 7, 4)):
        expect_number(
            function(layers, kv_heads, width, tokens, size),
            2 * layers * kv_heads * width * tokens * size,
            f"{layers} layers, {kv_heads} key-value heads of width {width}, {tokens:,} tokens, {size} bytes a number "
            "(a key and a value for each token, in each layer)",
        )


def rotated_vector(function):
    """One vector turned to its position, its halves paired as Llama does."""
    for width, position, theta in ((4, 1, 10_000.0), (8, 3, 100_000.0), (6, 0, 100.0)):
        vector = torch.arange(1.0, width + 1, dtype=torch.float64)
        angles = position * theta ** (-torch.arange(width // 2, dtype=torch.float64) * 2 / width)
        angles = torch.cat([angles, angles])
        expect_numbers(
            function(vector.numpy(), position, theta),
            (vector * angles.cos() + rotate_half(vector) * angles.sin()).tolist(),
            f"a vector of {width} at position {position}, θ = {theta:g} (number i of the first half and number i of "
            "the second are a pair; its angle is position · θ^(−2i / width))",
        )


def likeliest_option(function):
    """The option with the highest log-likelihood, as a sum or as a mean over its tokens."""
    for options in ([[-1.0], [-0.4, -0.4], [-3.0]], [[-2.0, -0.1], [-1.0]], [[-0.9], [-0.1] * 10, [-0.2, -0.3]]):
        for by_length in (False, True):
            scores = [sum(each) / (len(each) if by_length else 1) for each in options]
            expect_number(
                function([list(each) for each in options], by_length),
                int(np.argmax(scores)),
                f"log-probabilities {options}, by_length={by_length} (the place of the best option, counted from 0)",
            )


def calibration_gap(function):
    """The expected calibration error over bins of as many answers each."""
    generator = np.random.default_rng(4)
    for count, bins in ((8, 2), (20, 4), (30, 5)):
        sure = generator.random(count).round(3)
        right = (generator.random(count) < sure).astype(int)
        expect_number(
            function(sure.tolist(), right.tolist(), bins),
            calibration_error(sure, right, bins).estimate,
            f"{count} answers in {bins} bins (sort by confidence; in each bin |mean confidence − share right|, then "
            "the mean over bins)",
        )


def perplexity(function):
    """The exponential of the mean loss over all tokens of all texts."""
    for texts in ([[-1.0, -2.0]], [[-0.5], [-3.0, -1.0, -2.0]], [[math.log(1 / 7)] * 5, [math.log(1 / 7)]]):
        tokens = [value for text in texts for value in text]
        expect_number(
            function([list(text) for text in texts]),
            math.exp(-sum(tokens) / len(tokens)),
            f"log-probabilities {[[round(value, 2) for value in text] for text in texts]} (every token counts alike, "
            "whatever text it is in)",
        )


def enough_shots(record):
    """The fewest shots that come close to the best."""
    wanted = "{number of shots: accuracy}"
    found = entry(record, "accuracy", lambda seen: {int(n): fraction(value) for n, value in seen.items()}, wanted)
    questions = entry(record, "questions", int, "the number of questions that each accuracy is measured on")
    chosen = entry(record, "chosen", int, "the smallest number of shots that comes close enough")
    if len(found) < FEWEST_SHOTS or 0 not in found:
        raise NotYet(f"accuracy: {len(found)} numbers of shots; measure at least {FEWEST_SHOTS}, 0 among them.")
    if questions < 48:
        raise NotYet(f"questions: {questions} are too few to choose by; take at least 48.")
    near = [shots for shots in sorted(found) if found[shots] >= max(found.values()) - NEAR - 1e-9]
    if chosen != near[0]:
        raise NotYet(f"chosen: {chosen} is not the smallest number at most {NEAR} below the best accuracy.")


def coarsest_group(record):
    """The largest group of weights with one scale whose loss is still bearable."""
    wanted = "{size of a group: loss above float32's in nats a token}"
    rises = entry(record, "rise", lambda seen: {int(n): float(value) for n, value in seen.items()}, wanted)
    chosen = entry(record, "chosen", int, "the largest size whose loss you accept")
    if len(rises) < FEWEST_GROUPS:
        raise NotYet(f"rise: {len(rises)} sizes of groups; measure at least {FEWEST_GROUPS}.")
    allowed = [size for size, rise in rises.items() if rise <= MAX_RISE]
    if not allowed or chosen != max(allowed):
        raise NotYet(f"chosen: {chosen} is not the largest size whose loss rises by at most {MAX_RISE} nats a token.")


EXPERIMENTS = (enough_shots, coarsest_group)
CHECKS = (chat_text, cache_bytes, rotated_vector, likeliest_option, calibration_gap, perplexity)
