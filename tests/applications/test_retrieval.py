"""Retrieval: scores against libraries, places that give nothing for nothing, a window that drops whole documents."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_similarity

from helpers.applications.retrieval import (
    VectorStore,
    best,
    bm25_scores,
    encoder_vectors,
    fit_documents,
    places,
    recall_at,
    search_tool,
    tfidf_scores,
)
from helpers.models.generation import GenerationError

TEXTS = [
    "the red lamp costs nine pounds",
    "the blue lamp stands in the hall",
    "the red hat, the red coat and the red scarf",
    "a rope",
]


def test_tfidf_by_hand_gives_the_same_cosines():
    words = sorted({word.strip(",") for text in TEXTS for word in text.split() if len(word) > 1})
    counts = np.array(
        [[text.replace(",", "").split().count(word) for word in words] for text in [*TEXTS, "red red lamp"]],
        dtype=float,
    )
    rarity = np.log((1 + len(TEXTS)) / (1 + (counts[: len(TEXTS)] > 0).sum(0))) + 1
    assert np.allclose(
        tfidf_scores(TEXTS, ["red red lamp"]), cosine_similarity((counts * rarity)[-1:], (counts * rarity)[:-1])
    )


def test_bm25_by_hand():
    scores = bm25_scores(TEXTS, ["red"], k1=1.5, b=0.5)[0]
    lengths = [6, 7, 10, 1]  # words of one letter are not counted
    for text, length, score in zip(TEXTS, lengths, scores):
        count = text.split().count("red")
        rarity = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
        assert score == pytest.approx(rarity * count * 2.5 / (count + 1.5 * (0.5 + 0.5 * length / np.mean(lengths))))


@pytest.mark.parametrize("scores", [tfidf_scores, bm25_scores])
def test_a_copy_of_a_document_finds_it_and_unknown_words_find_nothing(scores):
    assert best(scores(TEXTS, TEXTS), 1)[:, 0].tolist() == [0, 1, 2, 3]
    assert not scores(TEXTS, ["zebra"]).any()


def test_encoder_vectors_do_not_depend_on_the_batch(tiny_model, tiny_tokenizer):
    together, alone = (encoder_vectors(tiny_model, tiny_tokenizer, TEXTS, batch_size=size) for size in (4, 1))
    assert together.shape == (4, 32) and torch.allclose(together, alone, atol=1e-4)
    with torch.no_grad():
        states = tiny_model.get_encoder()(**tiny_tokenizer(TEXTS[0], return_tensors="pt")).last_hidden_state[0]
    assert torch.allclose(together[0], states.mean(0), atol=1e-4)
    with pytest.raises(GenerationError, match=r"prompts\[1\]"):
        encoder_vectors(tiny_model, tiny_tokenizer, ["a rope", " "])


def test_a_store_gives_cosines_centred_or_not():
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) + 3
    queries = vectors[:2] + 0.01
    assert np.allclose(VectorStore(vectors).scores(queries), cosine_similarity(queries, vectors), atol=1e-5)
    usual = torch.tensor([3.0, 3.0, 3.0])
    centred = VectorStore(vectors, usual).scores(queries)
    assert np.allclose(
        centred, cosine_similarity(queries - usual, vectors - vectors.mean(0)), atol=1e-5
    ) and not np.allclose(centred, VectorStore(vectors).scores(queries))
    with pytest.raises(ValueError, match=r"vectors: shape \(3,\)"):
        VectorStore(torch.zeros(3))


@given(arrays(float, (4, 6), elements=st.integers(0, 3)), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_places_count_all_that_score_as_high(scores, relevant):
    found = places(scores, relevant)
    for row, own, place in zip(scores, relevant, found):
        assert place == sum(row >= row[own]) - 1
    assert (
        all((recall_at(found, k) <= recall_at(found, k + 1)).all() for k in range(1, 6)) and recall_at(found, 6).all()
    )


def test_a_retriever_that_says_nothing_gains_nothing():
    assert recall_at(places(np.zeros((3, 5)), [0, 1, 2]), 4).sum() == 0
    with pytest.raises(ValueError, match="k=0"):
        recall_at([0], 0)


def test_the_search_tool_hands_out_the_document_not_its_index():
    search = search_tool(
        ["red lamp. the red lamp goes with the hat", "hat. the hat goes with the red lamp"], ["LAMP", "HAT"]
    )
    assert search("hat") == "HAT" and search("red lamp") == "LAMP" and search("zebra") == "nothing found"


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
