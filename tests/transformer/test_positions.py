"""Positions: formulas against the library, and texts whose order is lost."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from transformers.models.t5.modeling_t5 import T5Attention

from helpers.transformer.positions import (
    ORDERS,
    bucket,
    first_attention,
    learned_biases,
    permutation_gap,
    reordered,
    sinusoids,
    without_positions,
)


@given(st.integers(-2000, 2000), st.sampled_from([(32, 128), (16, 64), (8, 20)]), st.booleans())
def test_buckets_are_the_librarys(distance, sizes, both_sides):
    buckets, farthest = sizes
    expected = T5Attention._relative_position_bucket(torch.tensor([distance]), both_sides, buckets, farthest).item()
    assert bucket(distance, buckets, farthest, both_sides) == expected


def test_sinusoids_begin_with_zeros_and_ones_and_depend_on_distance_alone():
    vectors = sinusoids(50, 16)
    assert vectors[0].tolist() == [0, 1] * 8 and vectors[3, :2] == pytest.approx([np.sin(3), np.cos(3)])
    assert vectors[7, -2] == pytest.approx(np.sin(7 / 10000 ** (14 / 16)))
    products = vectors @ vectors.T
    assert all(np.ptp(np.diagonal(products, offset)) < 1e-9 for offset in range(50))


def test_an_odd_width_is_named():
    with pytest.raises(ValueError, match="width: 5 is odd"):
        sinusoids(3, 5)


def test_learned_biases_are_those_that_the_model_adds(tiny_model):
    with torch.inference_mode():
        added = first_attention(tiny_model.encoder).compute_bias(9, 9)[0]
    assert learned_biases(tiny_model.encoder, range(-4, 5))[:, 8] == pytest.approx(added[:, 4, 8].numpy())
    decoder = learned_biases(tiny_model.decoder, range(-2, 2))
    assert np.isfinite(decoder[:, :3]).all() and np.isnan(decoder[:, 3]).all()


def test_only_an_encoder_without_biases_is_blind_to_order(tiny_model, tiny_tokenizer, dialogues):
    before = copy.deepcopy(tiny_model.state_dict())
    blind, ids = without_positions(tiny_model), tiny_tokenizer(dialogues[0])["input_ids"]
    assert permutation_gap(blind.encoder, ids) < 1e-5 and permutation_gap(tiny_model.encoder, ids) > 1e-3
    assert all(torch.equal(weights, before[name]) for name, weights in tiny_model.state_dict().items())


@given(st.integers(0, 99), st.sampled_from(ORDERS))
def test_reordering_keeps_every_word(seed, order):
    text = "#Person1#: One two three four.\n#Person2#: Five six seven eight?\n#Person1#: Nine."
    found = reordered(text, order, seed)
    assert Counter(found.split()) == Counter(text.split()) and found == reordered(text, order, seed)
    if order == "turns shuffled":
        assert sorted(found.split("\n")) == sorted(text.split("\n"))
    if order == "words shuffled in each turn":
        assert [turn.split()[0] for turn in found.split("\n")] == ["#Person1#:", "#Person2#:", "#Person1#:"]
    assert (order != "as it was") or found == text


def test_orders_differ_from_the_text():
    text = "#Person1#: " + " ".join(map(str, range(30))) + "\n#Person2#: b c d\n#Person1#: e f g\n#Person2#: h"
    assert len({reordered(text, order, 1) for order in ORDERS}) == len(ORDERS)


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match="order: 'backwards' is not one of as it was"):
        reordered("a b", "backwards", 0)
