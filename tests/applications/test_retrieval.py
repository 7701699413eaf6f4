"""Retrieval: scores against libraries, places that give nothing for nothing, a window that drops whole documents."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from helpers.applications.retrieval import best, bm25_scores, fit_documents, places, recall_at

TEXTS = [
    "the red lamp costs nine pounds",
    "the blue lamp stands in the hall",
    "the red hat, the red coat and the red scarf",
    "a rope",
]


def test_bm25_by_hand():
    scores = bm25_scores(TEXTS, ["red"], k1=1.5, b=0.5)[0]
    lengths = [6, 7, 10, 1]  # words of one letter are not counted
    for text, length, score in zip(TEXTS, lengths, scores):
        count = text.split().count("red")
        rarity = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
        assert score == pytest.approx(rarity * count * 2.5 / (count + 1.5 * (0.5 + 0.5 * length / np.mean(lengths))))


def test_a_copy_of_a_document_finds_it_and_unknown_words_find_nothing():
    assert best(bm25_scores(TEXTS, TEXTS), 1)[:, 0].tolist() == [0, 1, 2, 3]
    assert not bm25_scores(TEXTS, ["zebra"]).any()


RELEVANT = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True), min_size=4, max_size=4)


@given(arrays(float, (4, 6), elements=st.integers(0, 3)), RELEVANT)
def test_places_count_all_others_that_score_as_high(scores, relevant):
    found = places(scores, relevant)
    for row, own, place in zip(scores, relevant, found):
        assert place == sum(row[other] >= max(row[own]) for other in range(6) if other not in own)
    assert all((recall_at(found, k) <= recall_at(found, k + 1)).all() for k in range(1, 6))
    assert recall_at(found, 6).all()


def test_a_retriever_that_says_nothing_gains_nothing():
    assert recall_at(places(np.zeros((3, 5)), [[0], [1], [2, 3]]), 3).sum() == 0
    with pytest.raises(ValueError, match="k=0"):
        recall_at([0], 0)
    with pytest.raises(ValueError, match=r"relevant\[1\] is empty"):
        places(np.zeros((2, 5)), [[0], []])


@given(st.integers(5, 80))
def test_documents_are_dropped_whole_and_the_question_never(tiny_tokenizer, window):
    def build(shown):
        return "\n".join([*shown, "Question: Where? Answer:"])

    least = len(tiny_tokenizer(build([]))["input_ids"])
    if window < least:
        with pytest.raises(ValueError, match=f"question alone takes {least} tokens, the window holds {window}"):
            fit_documents(TEXTS, build, tiny_tokenizer, window)
        return
    prompt = fit_documents(TEXTS, build, tiny_tokenizer, window)
    assert (
        prompt.text == build(TEXTS[: len(prompt.kept)])
        and prompt.tokens == len(tiny_tokenizer(prompt.text)["input_ids"]) <= window
    )
    assert [*prompt.kept, *prompt.dropped] == [0, 1, 2, 3]
    if prompt.dropped:
        assert len(tiny_tokenizer(build(TEXTS[: len(prompt.kept) + 1]))["input_ids"]) > window
