"""The three families: equally large, each sees what it should, each learns; and their tasks, checked against the losses
themselves.
"""

import numpy as np
import pytest
import torch

from helpers.data.pairs import IGNORED
from helpers.transformer.families import (
    FamilyModel,
    Shape,
    continuation_examples,
    gap_examples,
    greedy,
    label_losses,
    mean_losses,
    pretrain,
    probe,
    sight,
    states_of,
    turn_questions,
)
from helpers.transformer.objectives import FAMILIES, shifted

SMALL = Shape(width=32, heads=2, blocks=2, hidden=64)
SENTINELS = [40, 41, 42, 43, 44, 45, 46, 47]
in_every_family = pytest.mark.parametrize("family", FAMILIES)


def test_all_families_are_equally_large_but_for_norms_and_biases():
    counts = [sum(weights.numel() for weights in FamilyModel(family, 1000).parameters()) for family in FAMILIES]
    assert max(counts) - min(counts) < 0.001 * min(counts)


def test_an_unknown_family_is_named():
    with pytest.raises(ValueError, match="family: 'bert' is not one of encoder-only"):
        FamilyModel("bert", 10)


def test_each_family_sees_what_it_should():
    length = 5
    seen = {family: sight(FamilyModel(family, 50, SMALL), range(5, 5 + length), 30) for family in FAMILIES}
    assert seen["encoder-only"].all()
    assert (seen["decoder-only"] == np.tri(length, dtype=bool)).all()
    assert (seen["encoder-decoder"] == np.hstack([np.ones((length, length), bool), np.tri(length, dtype=bool)])).all()


@in_every_family
def test_the_same_seed_gives_the_same_training_and_the_loss_falls(family):
    texts = [list(range(5, 25)), list(range(15, 35))]
    runs = [
        (
            model := FamilyModel(family, 48, SMALL, seed=1),
            pretrain(model, texts, SENTINELS, steps=40, length=20, seed=1, batch_size=8, show_progress=False),
        )
        for _ in range(2)
    ]
    assert runs[0][1] == runs[1][1] and np.mean(runs[0][1][-5:]) < 0.8 * runs[0][1][0]
    assert not runs[0][0].training
    other = FamilyModel(family, 48, SMALL, seed=2)
    assert not torch.equal(other.shared.weight, FamilyModel(family, 48, SMALL, seed=1).shared.weight)


@in_every_family
@pytest.mark.parametrize("length", [1, 3])
def test_the_labels_of_a_gap_are_its_tokens_in_order(family, length):
    ids = list(range(5, 20))
    labels = [
        label
        for example in gap_examples(family, ids, 6, length, SENTINELS)
        for label in example.labels
        if label != IGNORED
    ]
    assert labels == ids[6 : 6 + length]
    continued = [
        label
        for example in continuation_examples(family, ids, 10, 4, SENTINELS)
        for label in example.labels
        if label != IGNORED
    ]
    assert continued == ids[10:14]


def seen_tokens(examples):
    return {token for example in examples for token in (*example.inputs, *(example.decoder_inputs or ()))}


def test_nobody_is_shown_what_is_asked_and_a_continuation_shows_nothing_later():
    ids = list(range(5, 20))
    assert ids[6] not in seen_tokens(gap_examples("encoder-only", ids, 6, 1, SENTINELS)) and ids[7] in seen_tokens(
        gap_examples("encoder-only", ids, 6, 1, SENTINELS)
    )
    assert not set(ids[6:]) & seen_tokens(gap_examples("decoder-only", ids, 6, 1, SENTINELS))
    for family in FAMILIES:
        examples = continuation_examples(family, ids, 10, 4, SENTINELS)
        assert not set(ids[13:]) & {token for example in examples for token in example.inputs}
        assert not set(ids[14:]) & seen_tokens(examples) and len(examples) == (4 if family == "encoder-only" else 1)


def test_mean_losses_are_those_of_the_labels():
    model, ids = FamilyModel("decoder-only", 48, SMALL).eval(), list(range(5, 20))
    with torch.no_grad():
        whole = label_losses(model, [shifted(ids)])[0]
    assert mean_losses(model, [gap_examples("decoder-only", ids, 6, 3, SENTINELS)])[0] == pytest.approx(
        whole[6:9].mean().item(), abs=1e-4
    )


@in_every_family
def test_what_a_trained_model_fills_in_is_the_text(family):
    text = list(range(5, 35))
    model = FamilyModel(family, 48, SMALL, seed=3)
    pretrain(
        model, [text], SENTINELS, steps=150, length=30, seed=3, batch_size=8, learning_rate=5e-3, show_progress=False
    )
    hidden = [*text[:12], 4, *text[13:]]  # what stood in the gap must not matter
    assert greedy(model, hidden, 12, 1, SENTINELS) == greedy(model, text, 12, 1, SENTINELS)
    if family != "encoder-decoder":  # which takes longer to learn where the gap is
        assert greedy(model, text, 12, 1, SENTINELS) == [text[12]]


def test_states_do_not_depend_on_the_batch():
    model = FamilyModel("encoder-only", 48, SMALL).eval()
    alone, together = states_of(model, [[5, 6, 7]]), states_of(model, [[5, 6, 7], list(range(8, 30))])
    assert alone[0].shape == (3, 32) and np.allclose(alone[0], together[0], atol=1e-5)


def test_a_probe_finds_what_lies_in_the_states():
    rng = np.random.default_rng(0)
    states, labels = rng.normal(size=(300, 8)), rng.integers(0, 2, 300)
    states[:, 3] += 4 * labels
    assert probe(states[:200], labels[:200], states[200:], labels[200:]).mean() > 0.9
    assert probe(rng.normal(size=(200, 8)), labels[:200], rng.normal(size=(100, 8)), labels[200:]).mean() < 0.7


def test_turns_that_end_within_the_text():
    assert turn_questions([5, 1, 6, 7, 1, 8, 9, 1, 7], tags={1}, question_mark={7}) == [(1, True), (4, False)]
