import socket
import unicodedata

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings, strategies as st
from rouge_score.rouge_scorer import RougeScorer

from helpers.data.loading import load_dialogues
from helpers.evaluation.metrics import (
    ROUGE_TYPES,
    bleu,
    distinct_n,
    exact_match,
    exact_match_per_dialogue,
    normalised,
    repeated_per_text,
    rouge,
    rouge_per_dialogue,
    unigram_overlap,
    words,
)
from helpers.settings import load_settings

WORD = st.sampled_from(
    ["the", "cats", "cat", "running", "runs", "#Person1#", "harbour", "of", "9:40", "relational", ",", "\n"]
)
TEXT = st.lists(WORD, max_size=12).map(" ".join)
QUICK = settings(max_examples=20)
STOCK = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)


@QUICK
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_equals_the_scorer_with_its_own_stemmer(pairs):
    ours = rouge_per_dialogue(*zip(*pairs))
    for name in ROUGE_TYPES:
        assert ours[name].tolist() == [
            STOCK.score(reference, prediction)[name].fmeasure for prediction, reference in pairs
        ]


def test_english_scores_are_those_of_rouge_score_to_the_last_digit():
    rows = [row for split in load_dialogues(load_settings("pocket")).values() for row in split][::7]
    predictions = [" ".join(row["dialogue"].split("\n")[:3]) for row in rows]
    references = [row["summaries"] for row in rows]
    ours = rouge_per_dialogue(predictions, references)
    assert len(rows) > 300
    for name in ROUGE_TYPES:
        theirs = [STOCK.score_multi(several, text)[name].fmeasure for text, several in zip(predictions, references)]
        assert ours[name].tolist() == theirs


@pytest.mark.parametrize(
    "text",
    [
        "وصلت الحزمة مبللة إلى المتجر.",
        "यह हिन्दी का सारांश है।",
        "Посылка пришла мокрой.",
        "包裹今天湿了。",
        "Το δέμα έφτασε βρεγμένο.",
        "החבילה הגיעה רטובה.",
        "พัสดุมาถึงแล้ว",
        "荷物はコーヒーで濡れた。",
        "소포가 젖어서 도착했다.",
        "Käse über alles",
    ],
)
def test_a_text_of_any_script_equals_itself_and_nothing_else(text):
    assert rouge([text], [text]) == dict.fromkeys(ROUGE_TYPES, 1.0) and rouge([text], [text[::-1]])["rouge2"] < 1
    assert rouge([unicodedata.normalize("NFD", text)], [text])["rouge1"] == 1, "however accents are stored"
    assert rouge(["a wet parcel"], [text])["rouge1"] == 0


def test_accents_and_vowel_signs_tell_words_apart():
    assert rouge(["Küse äber alles"], ["Käse über alles"])["rouge1"] == pytest.approx(1 / 3)
    assert words("हिन्दी में") == ["हिन्दी", "में"] and words("ÄPFEL, äpfel!") == ["äpfel", "äpfel"]
    assert words("东京タワー is 2号") == ["东", "京", "タ", "ワー", "is", "2", "号"]


@QUICK
@given(prediction=TEXT, references=st.lists(TEXT, min_size=1, max_size=4))
def test_the_best_reference_counts_for_each_type_on_its_own(prediction, references):
    together = rouge([prediction], [references])
    apart = [rouge([prediction], [reference]) for reference in references]
    assert together == {name: max(score[name] for score in apart) for name in ROUGE_TYPES}


@QUICK
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_scores_are_shares_and_rouge_is_their_mean(pairs):
    rows, means = rouge_per_dialogue(*zip(*pairs)), rouge(*zip(*pairs))
    assert set(rows) == set(means) == set(ROUGE_TYPES)
    for name, scores in rows.items():
        assert scores.shape == (len(pairs),) and ((scores >= 0) & (scores <= 1)).all()
        assert means[name] == pytest.approx(scores.mean())


@QUICK
@given(prediction=TEXT, reference=TEXT)
def test_swapping_prediction_and_reference_keeps_f1(prediction, reference):
    one, two = rouge([prediction], [reference]), rouge([reference], [prediction])
    assert one["rouge1"] == pytest.approx(two["rouge1"]) and one["rougeL"] == pytest.approx(two["rougeL"])


@QUICK
@given(prediction=TEXT, reference=TEXT)
def test_clipped_overlap_by_hand_is_rouge_1(prediction, reference):
    by_hand, scorer = unigram_overlap(prediction, reference)["clipped"], STOCK.score(reference, prediction)["rouge1"]
    assert (by_hand.precision, by_hand.recall) == (scorer.precision, scorer.recall)
    assert by_hand.f1 == pytest.approx(scorer.fmeasure)


def test_rouge_by_hand_on_one_pair():
    scores = rouge(["It is cold outside."], ["It is very cold outside."])
    assert scores["rouge1"] == pytest.approx(2 * 4 / 9) and scores["rouge2"] == pytest.approx(2 * 2 / 7)
    assert scores["rougeL"] == scores["rougeLsum"] == pytest.approx(2 * 4 / 9)


def test_equal_texts_score_one_and_an_empty_prediction_nothing():
    assert rouge(["Two copies, please."], ["two copies please"]) == dict.fromkeys(ROUGE_TYPES, 1.0)
    assert rouge(["", " \n "], ["something", ["said", "here"]]) == dict.fromkeys(ROUGE_TYPES, 0.0)


def test_speakers_are_words_without_their_marks():
    assert words("#Person1# runs") == ["person1", "run"] and words("running", stem=False) == ["running"]
    assert rouge(["#Person1#"], ["person1"])["rouge1"] == 1.0


def test_clipping_stops_cold_cold_cold():
    overlap = unigram_overlap("cold cold cold", "It is cold outside")
    assert overlap["unclipped"].precision == 1.0 and overlap["clipped"].precision == pytest.approx(1 / 3)
    assert (overlap["unclipped"].matches, overlap["clipped"].matches) == (3, 1)
    assert overlap["clipped"].recall == 1 / 4


def test_bleu_is_sacrebleus_with_unequal_numbers_of_references():
    predictions = ["The cat sat on the mat.", "Two copies of the report, please."]
    references = [["The cat sat on a mat.", "A cat was on the mat."], "Two copies of that report, please."]
    score = bleu(predictions, references)
    stock = sacrebleu.corpus_bleu(
        predictions, [["The cat sat on a mat.", references[1]], ["A cat was on the mat.", None]]
    )
    assert 0 < score["bleu"] == stock.score < 100 and score["precision2"] == stock.precisions[1]
    assert bleu(["one two three four five"], ["one two three four five"])["bleu"] == pytest.approx(100)
    assert bleu([""], ["one two"])["bleu"] == 0


def test_short_texts_pay_the_brevity_penalty():
    assert bleu(["one two three four"], ["one two three four five six"])["brevity_penalty"] == pytest.approx(
        np.exp(1 - 6 / 4)
    )


def test_distinct_n_counts_different_grams():
    assert distinct_n(["cold cold cold"], 1) == pytest.approx(1 / 3) and distinct_n(["a b c", "a b d"], 2) == 3 / 4
    assert distinct_n(["one"], 2) == 0 and distinct_n([], 1) == 0
    with pytest.raises(ValueError, match="n=0"):
        distinct_n(["one"], 0)


def test_exact_match_looks_past_case_articles_and_punctuation():
    assert normalised("The  Theatre, a Play!") == "theatre play"
    predictions = ["the Harbour.", "at nine", "", "Anna"]
    assert exact_match_per_dialogue(predictions, ["harbour", ["nine", "At nine!"], "a cat", "Ann"]).tolist() == [
        1,
        1,
        0,
        0,
    ]
    assert exact_match(predictions, ["harbour", ["nine", "At nine!"], "a cat", "Ann"]) == 0.5


@pytest.mark.parametrize("metric", [rouge, rouge_per_dialogue, bleu, exact_match])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a", "b"], ["a"], "2 predictions but 1 references"),
        (["a", "b"], ["a", []], r"references\[1\]: the list is empty"),
        (["a", "b \ud83d"], ["a", "b"], r"predictions\[1\]: 'b \\ud83d' holds half a character"),
        (["a"], [["b", "\udc00"]], r"references\[0\]: .* holds half a character"),
        ([], [], "nothing to measure"),
        ("a", ["a"], "lists of texts"),
        (["a", None], ["a", "b"], r"predictions\[1\]: None is NoneType"),
        (["a"], [["a", 3]], r"references\[0\]: 3 is int"),
    ],
)
def test_wrong_rows_are_named(metric, predictions, references, message):
    with pytest.raises((ValueError, TypeError), match=message):
        metric(predictions, references)


def test_no_connection_is_tried_and_no_file_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(socket.socket, "connect", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rouge(["a b"], ["a c"])
    bleu(["a b"], ["a c"])
    assert not list(tmp_path.iterdir())


def test_repeated_triples_are_counted_in_each_text():
    found = repeated_per_text(["a b c a b c a b c", "a b c d e f", "one two", ""])
    assert found.tolist() == pytest.approx([1 - 3 / 7, 0, 0, 0])
