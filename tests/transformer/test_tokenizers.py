"""Subwords: both ways of cutting by hand against the library."""

from itertools import combinations

import pytest
from hypothesis import given, strategies as st

from helpers.transformer.tokenizers import (
    KINDS,
    bpe_cut,
    cost_of_kinds,
    kind_of_word,
    known_words,
    marked,
    merge_order,
    piece_scores,
    pieces_of,
    seen_words,
    train_subwords,
    unigram_cut,
    word_costs,
    words_of,
)
from tests.conftest import DIALOGUES

WORDS = sorted({word for text in DIALOGUES for word in words_of(text) if word.isalpha()})
LEARNED = {kind: train_subwords(DIALOGUES, 400, kind) for kind in KINDS}
LETTERS = "".join(sorted({letter for word in WORDS for letter in word}))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_unknown_and_nothing_is_lost(kind):
    for text in ("Your report is late.", "Πού είναι; 次 🙂 3,141"):
        assert LEARNED[kind].decode(LEARNED[kind].encode(text)) == text
    assert LEARNED[kind].get_piece_size() <= 400


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind: 'words' is not one of BPE, unigram"):
        train_subwords(DIALOGUES, 400, "words")


@given(st.sampled_from(WORDS) | st.text(LETTERS, min_size=1, max_size=12))
def test_both_ways_by_hand_are_the_librarys(word):
    assert bpe_cut(marked(word), merge_order(LEARNED["BPE"])) == pieces_of(LEARNED["BPE"], word)
    scores, found = piece_scores(LEARNED["unigram"]), pieces_of(LEARNED["unigram"], word)
    best, logprob = unigram_cut(marked(word), scores)
    assert "".join(best) == marked(word) and logprob == pytest.approx(sum(scores[piece] for piece in found), abs=1e-4)


@given(
    st.text("abc", min_size=1, max_size=6),
    st.dictionaries(st.text("abc", min_size=2, max_size=3), st.floats(-9, -0.1), max_size=8),
)
def test_the_best_cut_is_the_best_of_all(word, scores):
    scores |= {"a": -2.0, "b": -3.0, "c": -4.0}
    totals = []
    for count in range(len(word)):
        for borders in combinations(range(1, len(word)), count):
            parts = [word[start:end] for start, end in zip((0, *borders), (*borders, len(word)))]
            if all(part in scores for part in parts):
                totals.append(sum(scores[part] for part in parts))
    assert unigram_cut(word, scores)[1] == pytest.approx(max(totals))


def test_a_character_without_a_piece_is_named():
    with pytest.raises(ValueError, match="text: 'aé' holds a character that is in no piece"):
        unigram_cut("aé", {"a": -1.0})


def test_merges_come_in_the_order_of_training_and_each_joins_two_known_pieces():
    merges = merge_order(LEARNED["BPE"])
    known = set("".join(merges))
    for piece in merges:
        assert any(piece[:cut] in known and piece[cut:] in known for cut in range(1, len(piece)))
        known.add(piece)
    assert bpe_cut("▁the", []) == list("▁the") and len(bpe_cut(marked("the"), merges)) < 4


def test_words_without_the_tags_of_the_speakers():
    assert words_of("#Person1#: Don't pay 20 pounds!") == ["Don't", "pay", "20", "pounds"]
    assert seen_words(["#Person1#: Hello", "HELLO there"]) == {"hello", "there"}
    assert [kind_of_word(word, {"hello"}) for word in ("Hello", "Bye", "20")] == ["known word", "new word", "number"]


def test_costs_are_intervals_over_texts():
    assert known_words(["Hello hello zyx the", "zyx", "Hello"], {"hello", "the"}) == pytest.approx([2 / 3, 0, 0])
    rows = word_costs(LEARNED["BPE"], ["The kettle, the zyx.", "A zyx"], seen_words(DIALOGUES))
    assert {kind for _, kind, _ in rows} == {"known word", "new word"} and len(rows) == 6
    assert all(
        count == len(pieces_of(LEARNED["BPE"], word))
        for (_, _, count), word in zip(rows, ("The", "kettle", "the", "zyx", "A", "zyx"))
    )
    found = cost_of_kinds(rows)
    assert set(found) == {"known word", "new word"} and found["new word"].estimate > found["known word"].estimate
    assert cost_of_kinds([(0, "number", 2), (0, "number", 3)]) == {}
