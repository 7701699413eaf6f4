"""Objectives: what is hidden can be put back, and nothing is told twice."""

from itertools import pairwise

import numpy as np
from hypothesis import given, strategies as st

from helpers.data.pairs import IGNORED
from helpers.transformer.objectives import (
    FAMILIES,
    Example,
    batched,
    corrupted,
    draw_places,
    draw_spans,
    example_of,
    excerpt,
    masked,
    shifted,
)

SENTINELS = list(range(900, 916))


@given(st.integers(10, 120), st.integers(0, 99))
def test_spans_put_back_give_the_text(length, seed):
    ids = list(range(1, length + 1))
    spans = draw_spans(length, np.random.default_rng(seed))
    example, restored = corrupted(ids, spans, SENTINELS), []
    told = {}
    for label in example.labels:
        if label in SENTINELS:
            told[label], last = [], label
        else:
            told[last].append(label)
    for token in example.inputs:
        restored += told[token] if token in SENTINELS else [token]
    assert restored == ids and told[SENTINELS[len(spans)]] == [] and example.decoder_inputs == [0, *example.labels[:-1]]
    assert all(first + size < second for (first, size), (second, _) in pairwise(spans))
    assert 1 <= len(spans) == max(1, round(0.05 * length))


@given(st.integers(1, 120), st.integers(0, 99))
def test_masked_tokens_are_the_labels_and_the_rest_is_seen(length, seed):
    ids = list(range(1, length + 1))
    places = draw_places(length, np.random.default_rng(seed))
    example = masked(ids, places, 900)
    assert len(places) == max(1, round(0.15 * length)) == sum(label != IGNORED for label in example.labels)
    assert [label if seen == 900 else seen for seen, label in zip(example.inputs, example.labels)] == ids


def test_a_decoder_gets_every_token_one_step_late():
    assert shifted([5, 6, 7], 0) == Example([0, 5, 6], [5, 6, 7])


def test_each_family_has_its_task_and_a_batch_is_padded_behind():
    for family in FAMILIES:
        examples = [example_of(family, list(range(1, size)), np.random.default_rng(0), SENTINELS) for size in (12, 60)]
        inputs, labels = batched(examples)
        assert inputs["attention_mask"].sum(1).tolist() == [len(example.inputs) for example in examples]
        assert ("decoder_input_ids" in inputs) == (family == "encoder-decoder") and (labels[0] == IGNORED).any()
        assert labels[1].tolist() == examples[1].labels


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 9))
def test_an_excerpt_is_a_piece_of_the_text(length, wanted, seed):
    ids = list(range(length))
    found = excerpt(ids, wanted, np.random.default_rng(seed))
    assert len(found) == min(length, wanted) and found == ids[found[0] : found[0] + len(found)]
