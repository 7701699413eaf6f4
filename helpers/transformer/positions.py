"""Positions: how a transformer knows where a token stands, and what is left of a text whose order is lost."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence

import numpy as np
import torch

ORDERS = ("as it was", "turns shuffled", "words shuffled in each turn", "all words shuffled")
TAG = ":"


def sinusoids(length: int, width: int) -> np.ndarray:
    """(length, width) a vector for each position: sines at even places, cosines at odd ones, wavelengths from 2π to
    10000·2π.

    Raises:
        ValueError: an odd width.
    Source: Vaswani et al. 2017, section 3.5.
    """
    if width % 2:
        raise ValueError(f"width: {width} is odd; each wavelength has a sine and a cosine")
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)


def bucket(distance: int, buckets: int = 32, farthest: int = 128, both_sides: bool = True) -> int:
    """T5's bucket for a key that stands `distance` tokens to the right of the query (negative: to the left).

    Near distances have a bucket each, far ones share: their buckets grow like the logarithm, and the last holds all
    from `farthest` on.

    Args:
        both_sides: as in the encoder; a decoder sees the left side only and gives it all buckets.
    Source: Raffel et al. 2020, section 2.1; `T5Attention._relative_position_bucket` of transformers.
    """
    side = buckets // 2 if both_sides else buckets
    offset = side if both_sides and distance > 0 else 0
    steps = abs(distance) if both_sides else max(-distance, 0)
    exact = side // 2
    if steps < exact:
        return offset + steps
    grown = np.float32(np.log(np.float32(steps / exact))) / np.float32(np.log(farthest / exact)) * (side - exact)
    return offset + min(exact + int(grown), side - 1)


def first_attention(stack):
    """The self-attention of a T5 stack's first block, whose position biases all its blocks share."""
    return stack.block[0].layer[0].SelfAttention


def learned_biases(stack, distances: Sequence[int]) -> np.ndarray:
    """(H, D) what each head of a T5 stack adds to its scores at these distances; nan where a decoder never looks, to
    the right.
    """
    attention = first_attention(stack)
    places = [
        bucket(
            distance,
            attention.relative_attention_num_buckets,
            attention.relative_attention_max_distance,
            not attention.is_decoder,
        )
        for distance in distances
    ]
    found = attention.relative_attention_bias.weight[places].detach().float().cpu().numpy().T
    return np.where(attention.is_decoder & (np.array(distances) > 0), np.nan, found)


def without_positions(model):
    """A copy of a T5 whose encoder and decoder know no distances: their position biases are 0."""
    blind = copy.deepcopy(model)
    with torch.no_grad():
        for stack in (blind.encoder, blind.decoder):
            first_attention(stack).relative_attention_bias.weight.zero_()
    return blind


def permutation_gap(encoder, ids: Sequence[int], seed: int = 0) -> float:
    """How far the states of permuted tokens are from the permuted states of the tokens: the largest difference over the
    largest state.

    0 up to rounding for an encoder that takes its text as a bag of tokens; the end token is permuted as well.
    """
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    device = next(encoder.parameters()).device
    tokens = torch.stack([torch.tensor(ids), torch.tensor(ids)[order]]).to(device)
    with torch.inference_mode():
        states = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state.float()
    return ((states[1] - states[0][order.to(device)]).abs().max() / states.abs().max()).item()


def reordered(dialogue: str, order: str, seed: int) -> str:
    """The dialogue with its turns, or its words, in another order; who speaks stays at the front of every turn, but for
    "all words shuffled".

    Args:
        order: a name in `ORDERS`.
    Raises:
        ValueError: an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"order: {order!r} is not one of {', '.join(ORDERS)}")
    rng, turns = random.Random(f"{order}|{seed}"), dialogue.split("\n")
    if order == "turns shuffled":
        rng.shuffle(turns)
    elif order == "words shuffled in each turn":
        turns = [_shuffled_turn(turn, rng) for turn in turns]
    elif order == "all words shuffled":
        words = dialogue.split()
        rng.shuffle(words)
        return " ".join(words)
    return "\n".join(turns)


def _shuffled_turn(turn, rng):
    words = turn.split()
    tag, rest = (words[:1], words[1:]) if words and words[0].endswith(TAG) else ([], words)
    rng.shuffle(rest)
    return " ".join([*tag, *rest])
