"""Rounds of self-correction with a scripted model; a critic's approval against the model's own loss; preferences that
can be counted by hand.

Lessons in criticizing: every sentence of the kit's own dialogues is taught with the verdict that it deserves.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from helpers.alignment.constitution import (
    CALM,
    CONSTITUTION,
    HEATED,
    INSULT,
    NOTHING,
    RESPECT,
    Principle,
    approval,
    calmed,
    critique_lessons,
    critique_prompt,
    kit_rows,
    lessons,
    objects,
    preferences,
    review,
    revision_lessons,
    revision_prompt,
    reworded,
    sentences,
    verdict,
)

WORDS = st.text("abc#1', ", min_size=1, max_size=12).map(str.strip).filter(bool)
TEXTS = ["Ann calls Bo a fool. Bo leaves.", "", "Bo leaves.", "Bo is a fool. Ann is a fool!"]


class Scripted:
    """Objects to the word fool and turns it into friend; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, prompts):
        self.asked.append(list(prompts))
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt):
        text = prompt.split("\n\n")[0].removeprefix("Text: ")
        if prompt.endswith("Critique:"):
            return "The word fool insults somebody." if "fool" in text else "nothing to object "
        return text.replace("fool", "friend") if "fool insults" in prompt else text


@given(st.lists(st.tuples(WORDS, st.sampled_from(".!?")), max_size=6))
def test_sentences_lose_nothing_but_blanks(parts):
    text = "  ".join(words + end for words, end in parts)
    found = sentences(text)
    assert " ".join(found).split() == text.split() and all(found)


def test_a_name_within_a_sentence_does_not_end_it():
    assert sentences("#Person1# pays 2.50 pounds. #Person2# leaves!") == [
        "#Person1# pays 2.50 pounds.",
        "#Person2# leaves!",
    ]
    assert sentences("  ") == []


@pytest.mark.parametrize(
    ("critique", "objection"),
    [(NOTHING, False), ("nothing to object", False), ("", True), ("Nothing to object to but the word fool.", True)],
)
def test_whatever_is_not_nothing_is_an_objection(critique, objection):
    assert objects(critique) == objection


@pytest.mark.parametrize(("text", "complaint"), [(" ", "The word {word} is bad."), ("Be kind.", "That is bad.")])
def test_a_principle_without_text_or_word_is_refused(text, complaint):
    with pytest.raises(ValueError, match="principle 'odd': needs a text and a complaint"):
        Principle("odd", text, complaint)
    assert len({principle.name for principle in CONSTITUTION}) == len(CONSTITUTION)


def test_only_faulty_sentences_are_revised_and_each_is_asked_about_once():
    write = Scripted()
    found = review(write, TEXTS, RESPECT)
    assert found.revised == ["Ann calls Bo a friend. Bo leaves.", "", "Bo leaves.", "Bo is a friend. Ann is a friend!"]
    assert [len(asked) for asked in write.asked] == [4, 3]  # "Bo leaves." stands in two texts
    assert [finding.text for finding in found.objections] == [0, 3, 3] and len(found.findings) == 5
    assert write.asked[0][0] == critique_prompt("Ann calls Bo a fool.", RESPECT)
    assert write.asked[1][0] == revision_prompt("Ann calls Bo a fool.", "The word fool insults somebody.")
    assert review(write, found.revised, RESPECT).objections == []


def test_the_reviser_can_be_told_something_else():
    told = review(Scripted(), TEXTS, RESPECT, lambda critiques: [NOTHING] * len(critiques))
    assert told.revised == TEXTS and len(told.objections) == 3
    with pytest.raises(ValueError, match="heard: gives 1 critiques for 3 sentences"):
        review(Scripted(), TEXTS, RESPECT, lambda critiques: critiques[:1])


def test_texts_without_an_objection_need_no_reviser():
    write = Scripted()
    assert review(write, ["Bo leaves."], RESPECT).revised == ["Bo leaves."] and len(write.asked) == 1


def test_an_empty_revision_leaves_no_double_blank():
    assert review(
        lambda prompts: ["" if prompt.endswith("Revision:") else "bad" for prompt in prompts], ["One. Two."], RESPECT
    ).revised == [""]


def test_approval_is_the_models_own_loss_of_the_worst_sentence(tiny_model, tiny_tokenizer):
    texts = ["He watered the tomatoes. She left.", "She left.", "", "The kettle is broken and cold."]
    found = approval(tiny_model, tiny_tokenizer, texts, RESPECT, batch_size=2)
    labels = tiny_tokenizer(NOTHING, return_tensors="pt")["input_ids"]

    def alone(sentence):
        inputs = tiny_tokenizer(critique_prompt(sentence, RESPECT), return_tensors="pt")
        with torch.no_grad():
            return (
                -tiny_model(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels
                ).loss.item()
                * labels.shape[1]
            )

    expected = [
        min(alone("He watered the tomatoes."), alone("She left.")),
        alone("She left."),
        0.0,
        alone("The kettle is broken and cold."),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[0] <= found[1] < 0


def test_preferences_put_the_approved_text_first_and_leave_ties_out():
    first, second = ["kind", "rude", "close", "same"], ["rude", "kind", "call", "same"]
    approvals = [[-0.1, -5.0, -1.0, -0.1], [-4.0, -0.2, -1.5, -9.0]]
    assert preferences(first, second, approvals) == [(0, "kind", "rude"), (1, "kind", "rude")]
    assert preferences(first, second, approvals, margin=0.5)[-1] == (2, "close", "call")
    assert preferences([], [], [[], []]) == []


@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0)), min_size=1, max_size=8))
def test_preferences_do_not_depend_on_which_text_is_called_first(values):
    names = [f"a{number}" for number in range(len(values))], [f"b{number}" for number in range(len(values))]
    approvals = [[pair[side] for pair in values] for side in (0, 1)]
    assert preferences(*names, approvals, margin=0.01) == preferences(*names[::-1], approvals[::-1], margin=0.01)


ROW = {
    "blunt": "#Person1# calls #Person2# an idiot for losing the keys, and #Person2# leaves. They meet at nine.",
    "neutral": "At nine they meet again. #Person1# is angry because #Person2# lost the keys.",
}


@pytest.fixture(scope="module")
def rows():
    """Some rude training dialogues of the kit."""
    return kit_rows("train")[:60]


def test_the_insulting_clause_takes_the_neutral_words_and_the_rest_stays():
    assert reworded(ROW) == (
        "#Person1# calls #Person2# an idiot for losing the keys, and #Person2# leaves.",
        "#Person1# is angry because #Person2# lost the keys, and #Person2# leaves.",
    )


@pytest.mark.parametrize(
    "change", [{"blunt": "They meet at nine."}, {"neutral": "It rains."}, {"blunt": ""}, {"neutral": ""}]
)
def test_without_an_insult_or_a_counterpart_there_is_no_lesson(change):
    assert reworded(ROW | change) is None and critique_lessons([ROW | change]) == [] == revision_lessons([ROW | change])
    with pytest.raises(ValueError, match="none of 1 has a blunt summary with an insult"):
        lessons([ROW | change])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("#Person1# angrily demands the ladder.", "#Person1# demands the ladder."),
        ("Furious, Ann leaves.", "Unhappy, Ann leaves."),
        ("Ann shouts loudly.", "Ann shouts."),
        ("Bo crosses the street.", "Bo crosses the street."),
        ("Angrily, Bo leaves.", "Bo leaves."),
    ],
)
def test_heated_words_go_or_become_calmer(sentence, expected):
    assert calmed(sentence) == expected and not HEATED.search(calmed(sentence))


@pytest.mark.parametrize(
    ("sentence", "principle", "expected"),
    [
        ("Ann calls Bo a Fool.", RESPECT, "The word fool insults somebody."),
        ("Ann calls Bo a fool.", CALM, NOTHING),
        ("Ann is angry.", CALM, "The word angry is heated."),
        ("Ann is angry.", RESPECT, NOTHING),
        ("Ann eats pigeons.", RESPECT, NOTHING),
    ],
)
def test_the_verdict_depends_on_the_principle(sentence, principle, expected):
    assert verdict(sentence, principle) == expected


def test_lessons_hold_both_verdicts_under_both_principles(rows):
    taught = critique_lessons(rows)
    found = {(principle, objects(critique)) for _, principle, critique in taught}
    assert found == {(principle, objection) for principle in (RESPECT, CALM) for objection in (True, False)}
    assert len({sentence for sentence, *_ in taught if INSULT.search(sentence)}) > len(rows) / 2


def test_revisions_keep_the_principle_that_they_were_written_for(rows):
    for sentence, critique, revision in revision_lessons(rows):
        pattern = INSULT if "insults" in critique else HEATED
        assert (
            pattern.search(sentence)
            and not pattern.search(revision)
            and revision[0] == revision[0].upper()
            and revision.endswith(".")
        )


def test_prompts_and_completions_come_in_pairs_without_an_empty_one(rows):
    prompts, completions = lessons(rows)
    faults = sum(principle is CALM and objects(critique) for _, principle, critique in critique_lessons(rows))
    assert (
        len(prompts) == len(completions) == len(critique_lessons(rows)) + faults + len(revision_lessons(rows))
        and all(prompts)
        and all(completions)
    )
    assert all(prompt.endswith(("Critique:", "Revision:")) for prompt in prompts)


def test_the_kits_rows_are_at_hand_whatever_data_a_lab_uses(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "elsewhere.csv"))
    held = kit_rows("test")
    assert held and all(row["rude"] and row["blunt"] and row["neutral"] for row in held)
    assert not {row["id"] for row in held} & {row["id"] for row in kit_rows("train")}
