"""Reward models from pairs: the loss against its formula, the accuracy, and a tiny model that learns a preference."""

import math

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from helpers.alignment.reward_model import pairwise_accuracy, pairwise_loss, train_reward_model
from helpers.runs import fingerprint
from tests.conftest import DIALOGUES

LINES = [line.split(": ", 1)[1] for dialogue in DIALOGUES for line in dialogue.splitlines()]
PAIRS = [(line, f"{line} {line}") for line in LINES]       # the shorter the better


@pytest.fixture(scope="module")
def scorer(tiny_tokenizer):
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=len(tiny_tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                                    intermediate_size=32, max_position_embeddings=256, num_labels=1, pad_token_id=tiny_tokenizer.pad_token_id))


def test_the_loss_is_that_of_the_paper():
    better, worse = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])
    by_hand = -(math.log(1 / (1 + math.exp(-1.5))) + math.log(1 / (1 + math.exp(2.0)))) / 2
    assert pairwise_loss(better, worse).item() == pytest.approx(by_hand, rel=1e-5)
    assert pairwise_loss(better, better).item() == pytest.approx(math.log(2))


def test_accuracy_counts_ties_half():
    scores = {"a": 1.0, "b": 0.0, "c": 1.0}
    found = pairwise_accuracy(lambda texts: torch.tensor([scores[text] for text in texts]), [("a", "b"), ("b", "c"), ("a", "c")])
    assert found.tolist() == [1, 0, 0.5]


def test_a_preference_is_learned_and_holds_for_other_texts(scorer, tiny_tokenizer):
    before = fingerprint(scorer)
    reward = train_reward_model(scorer, tiny_tokenizer, PAIRS[:-6], steps=30, seed=1, learning_rate=3e-3, batch_size=8, show_progress=False)
    assert pairwise_accuracy(reward, PAIRS[:-6]).mean() > 0.9 and pairwise_accuracy(reward, PAIRS[-6:]).mean() > 0.6
    assert fingerprint(scorer) == before
    same = train_reward_model(scorer, tiny_tokenizer, PAIRS[:-6], steps=30, seed=1, learning_rate=3e-3, batch_size=8, show_progress=False)
    assert np.array_equal(same(LINES), reward(LINES))


def test_no_pairs_are_named(scorer, tiny_tokenizer):
    with pytest.raises(ValueError, match="pairs: there are none"):
        train_reward_model(scorer, tiny_tokenizer, [], steps=1, seed=1)
