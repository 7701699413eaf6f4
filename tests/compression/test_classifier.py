import copy

import pytest
import torch

from helpers.compression.classifier import (
    LEAST,
    Classes,
    Classifier,
    class_logits,
    classes_of,
    labelled,
    smaller_classifier,
    train_classifier,
)

LABELS = [0, 1, 0, 1, 2, 2]


@pytest.fixture(scope="module")
def texts(tiny_tokenizer, dialogues):
    """Token ids of the six dialogues."""
    return labelled(
        [{"dialogue": text, "topic": "cats"} for text in dialogues], Classes(("cats",)), tiny_tokenizer, 128
    )[0]


@pytest.fixture(scope="module")
def fresh(tiny_model):
    """An untrained head on the tiny model's encoder."""
    return Classifier(tiny_model.encoder, 3)


@pytest.fixture(scope="module")
def teacher(fresh, texts):
    """A classifier that knows the six dialogues by heart."""
    return train_classifier(
        fresh, texts, LABELS, steps=60, learning_rate=1e-2, seed=1, batch_size=3, show_progress=False
    )


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_padding_and_the_order_of_the_texts_change_nothing(fresh, texts):
    together = class_logits(fresh, texts, batch_size=6)
    alone = torch.cat([class_logits(fresh, [text]) for text in texts])
    assert torch.allclose(together, alone, atol=1e-5) and together.shape == (6, 3)
    assert torch.allclose(class_logits(fresh, texts[::-1]), together.flip(0), atol=1e-5)


def test_training_learns_the_classes_and_leaves_the_start_alone(fresh, teacher, texts, tiny_model):
    assert class_logits(teacher, texts).argmax(-1).tolist() == LABELS and not teacher.training
    again = Classifier(tiny_model.encoder, 3)
    assert torch.equal(weights(again), weights(fresh)) and not torch.equal(weights(teacher), weights(fresh))
    assert not torch.equal(weights(Classifier(tiny_model.encoder, 3, seed=9)), weights(fresh))


def test_the_same_seed_repeats_the_training_and_another_does_not(fresh, texts):
    one, same, other = (
        train_classifier(
            fresh, texts, LABELS, steps=5, learning_rate=1e-2, seed=seed, batch_size=2, show_progress=False
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(weights(one), weights(same)) and not torch.equal(weights(one), weights(other))


def test_soft_labels_teach_what_the_hard_ones_do_not_say(fresh, teacher, texts):
    wrong = [2, 2, 1, 0, 0, 1]
    taught = train_classifier(
        fresh,
        texts,
        wrong,
        steps=60,
        learning_rate=1e-2,
        seed=1,
        batch_size=3,
        teacher=teacher,
        alpha=1.0,
        show_progress=False,
    )
    assert class_logits(taught, texts).argmax(-1).tolist() == LABELS
    before, mode = weights(teacher), teacher.train().training
    train_classifier(
        fresh, texts, LABELS, steps=2, learning_rate=1e-2, seed=1, batch_size=3, teacher=teacher, show_progress=False
    )
    assert torch.equal(weights(teacher), before) and teacher.training == mode
    teacher.eval()


def test_a_smaller_classifier_keeps_the_first_layers_and_the_head(tiny_model):
    config = copy.deepcopy(tiny_model.config)
    config.num_layers = 3
    deep = Classifier(type(tiny_model)(config).encoder, 4)
    small = smaller_classifier(deep, 1)
    assert len(small.encoder.block) == 1 and len(deep.encoder.block) == 3
    assert torch.equal(small.head.weight, deep.head.weight)
    assert torch.equal(
        small.encoder.block[0].layer[0].SelfAttention.q.weight, deep.encoder.block[0].layer[0].SelfAttention.q.weight
    )


def test_classes_are_the_topics_that_are_frequent_enough(tiny_tokenizer):
    rows = [
        {"topic": topic, "dialogue": "Did you water the tomatoes?"}
        for topic, count in (("tea", LEAST), ("cats", LEAST + 3), ("rare", LEAST - 1), ("", 90))
        for _ in range(count)
    ]
    classes = classes_of([row | {"summary": "x"} for row in rows])
    assert classes == Classes(("cats", "tea"))
    ids, numbers = labelled(rows[LEAST - 1 : LEAST + 1] + rows[-100:], classes, tiny_tokenizer, 3)
    assert numbers == [1, 0] and [len(row) for row in ids] == [
        3,
        3,
    ]  # the rare ones are left out, a long text counts with its beginning


def test_without_topics_the_classes_are_short_and_long_summaries():
    rows = [{"topic": "", "summary": "word " * length} for length in (2, 9, 3, 7)]
    classes = classes_of(rows)
    assert classes.names == ("short", "long") and [classes.number(row) for row in rows] == [0, 1, 0, 1]
