"""Reward models from pairs: the loss against its formula, the accuracy, and a tiny model that learns a preference.

The reward model and the independent judge.
"""

import json
import math

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from helpers.alignment.reward_model import (
    ClassifierReward,
    RewardError,
    harmless_label,
    judged_toxicity,
    load_reward,
    pairwise_accuracy,
    pairwise_loss,
    train_reward_model,
    untrained_scorer,
    usable_positions,
)
from helpers.run_records import fingerprint
from helpers.settings import POCKET, load_settings
from tests.conftest import DIALOGUES

LINES = [line.split(": ", 1)[1] for dialogue in DIALOGUES for line in dialogue.splitlines()]
PAIRS = [(line, f"{line} {line}") for line in LINES]  # the shorter the better


@pytest.fixture(scope="module")
def scorer(tiny_tokenizer):
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tiny_tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=256,
            num_labels=1,
            pad_token_id=tiny_tokenizer.pad_token_id,
        )
    )


def test_the_loss_is_that_of_the_paper():
    better, worse = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])
    by_hand = -(math.log(1 / (1 + math.exp(-1.5))) + math.log(1 / (1 + math.exp(2.0)))) / 2
    assert pairwise_loss(better, worse).item() == pytest.approx(by_hand, rel=1e-5)
    assert pairwise_loss(better, better).item() == pytest.approx(math.log(2))


def test_accuracy_counts_ties_half():
    scores = {"a": 1.0, "b": 0.0, "c": 1.0}
    found = pairwise_accuracy(
        lambda texts: torch.tensor([scores[text] for text in texts]), [("a", "b"), ("b", "c"), ("a", "c")]
    )
    assert found.tolist() == [1, 0, 0.5]


def test_a_preference_is_learned_and_holds_for_other_texts(scorer, tiny_tokenizer):
    before = fingerprint(scorer)
    reward = train_reward_model(
        scorer, tiny_tokenizer, PAIRS[:-6], steps=30, seed=1, learning_rate=3e-3, batch_size=8, show_progress=False
    )
    assert pairwise_accuracy(reward, PAIRS[:-6]).mean() > 0.9 and pairwise_accuracy(reward, PAIRS[-6:]).mean() > 0.6
    assert fingerprint(scorer) == before
    same = train_reward_model(
        scorer, tiny_tokenizer, PAIRS[:-6], steps=30, seed=1, learning_rate=3e-3, batch_size=8, show_progress=False
    )
    assert np.array_equal(same(LINES), reward(LINES))


def test_no_pairs_are_named(scorer, tiny_tokenizer):
    with pytest.raises(ValueError, match="pairs: there are none"):
        train_reward_model(scorer, tiny_tokenizer, [], steps=1, seed=1)


def test_of_robertas_positions_all_but_the_first_two_are_usable(scorer, tiny_tokenizer):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(
        vocab_size=len(tiny_tokenizer), **shape, max_position_embeddings=34, num_labels=1, pad_token_id=1
    )
    roberta = RobertaForSequenceClassification(config)
    assert usable_positions(roberta) == 32 and usable_positions(scorer) == 256
    long = "kettle " * 100
    assert ClassifierReward(roberta, tiny_tokenizer, label=0)([long]).shape == (1,)
    train_reward_model(roberta, tiny_tokenizer, [("Yes.", long)], steps=1, seed=1, show_progress=False)


def test_an_untrained_scorer_has_the_reward_models_shape_and_no_knowledge(reward):
    settings = load_settings("pocket")
    torch.manual_seed(1)
    tokenizer, one = untrained_scorer(settings)
    other = untrained_scorer(settings)[1]
    assert len(tokenizer) == len(reward.tokenizer) and one.config.num_labels == 1
    assert one.config.hidden_size == reward.model.config.hidden_size
    weights = [model.bert.embeddings.word_embeddings.weight for model in (one, other, reward.model)]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_folder_without_a_shape_is_named(tmp_path):
    with pytest.raises(RewardError, match="reward_model: .*has no shape of a classifier.*config.json"):
        untrained_scorer(load_settings("pocket", reward_model=str(tmp_path)))


RUDE, POLITE = "#Person1# calls #Person2# an idiot.", "#Person1# thanks #Person2# for the lemonade."


@pytest.fixture(scope="module")
def reward():
    return load_reward(load_settings("pocket"))


def classifier(labels):
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=464,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            id2label=dict(enumerate(labels)),
            max_position_embeddings=64,
        )
    ).eval()


@pytest.mark.parametrize(
    ("labels", "index"),
    [(("nothate", "hate"), 0), (("hate", "nothate"), 1), (("toxic", "non-toxic"), 1), (("Neutral", "rude"), 0)],
)
def test_the_label_is_found_by_its_name_wherever_it_stands(labels, index):
    assert harmless_label(classifier(labels).config) == index


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("neutral", "polite")])
def test_labels_without_a_clear_name_are_listed(labels, tiny_tokenizer):
    with pytest.raises(RewardError, match=labels[0]):
        ClassifierReward(classifier(labels), tiny_tokenizer)
    assert ClassifierReward(classifier(labels), tiny_tokenizer, label=1).label == 1
    with pytest.raises(RewardError, match="label: 2 is not one of the 2 labels"):
        ClassifierReward(classifier(labels), tiny_tokenizer, label=2)


def test_swapped_labels_give_the_same_rewards(tiny_tokenizer):
    one = classifier(("nothate", "hate"))
    other = classifier(("hate", "nothate"))
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        other.classifier.weight.copy_(one.classifier.weight.flip(0))
        other.classifier.bias.copy_(one.classifier.bias.flip(0))
    texts = ["The kettle is broken.", "Two copies.", "He eats them like sweets."]
    assert torch.allclose(ClassifierReward(one, tiny_tokenizer)(texts), ClassifierReward(other, tiny_tokenizer)(texts))


def test_batches_and_order_change_nothing_and_long_texts_go_through(reward):
    texts = [RUDE, POLITE, "", RUDE * 40, "Yes."]
    scores = reward(texts)
    small = ClassifierReward(reward.model, reward.tokenizer, batch_size=2)
    assert scores.shape == (5,) and torch.isfinite(scores).all() and torch.allclose(small(texts), scores, atol=1e-4)
    assert torch.allclose(reward(texts[::-1]), scores.flip(0), atol=1e-4) and reward([]).shape == (0,)


def test_logit_and_probability_agree_on_the_order_and_toxicity_is_the_rest(reward):
    chance = ClassifierReward(reward.model, reward.tokenizer, raw=False)
    texts = [RUDE, POLITE]
    assert reward(texts)[0] < reward(texts)[1] and chance(texts)[0] < 0.2 and chance(texts)[1] > 0.8
    assert np.allclose(reward.toxicity(texts), 1 - chance(texts).numpy(), atol=1e-6) and reward.name != chance.name


def test_one_text_instead_of_a_list_is_named(reward):
    with pytest.raises(RewardError, match="'#Person1#.*is not a list of texts"):
        reward(RUDE)


def test_a_folder_without_a_classifier_is_named(tmp_path):
    with pytest.raises(RewardError, match="reward_model: .*cannot be loaded as a sequence classifier"):
        load_reward(load_settings("pocket", reward_model=str(tmp_path)))


def test_the_judge_tells_rude_from_polite_and_an_empty_text_is_harmless():
    rude, polite, empty = judged_toxicity([RUDE, POLITE, " "])
    assert rude > 0.5 > polite >= 0 and empty == 0 and judged_toxicity([]).shape == (0,)


def test_the_shipped_classifier_is_small_and_as_good_as_its_card_says():
    results = json.loads((POCKET / "reward" / "results.json").read_text(encoding="utf-8"))
    card = (POCKET / "reward" / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in (POCKET / "reward").iterdir()) < 10e6
    assert results["found of the toxic"] > 0.95 and results["false alarms"] < 0.05 and results["accuracy"] in card
    wrong = {case["kind"] for case in results["adversarial"] if (case["toxicity"] > 0.5) != case["offensive"]}
    assert wrong, "nothing left to show where it fails"


def test_it_judges_the_rude_and_the_neutral_summaries_of_the_test_dialogues(reward):
    rows = [json.loads(line) for line in (POCKET / "data" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    rude = [row for row in rows if row["rude"]]
    blunt, neutral = (reward.toxicity([row[kind] for row in rude]) for kind in ("blunt", "neutral"))
    assert (blunt > 0.5).mean() > 0.8 and (neutral > 0.5).mean() < 0.1
