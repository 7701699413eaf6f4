"""Lessons in criticizing: every sentence of the kit's own dialogues is taught with the verdict that it deserves."""

import pytest

from helpers.alignment.constitution import (
    CALM,
    HEATED,
    INSULT,
    NOTHING,
    RESPECT,
    calmed,
    critique_lessons,
    kit_rows,
    lessons,
    objects,
    revision_lessons,
    reworded,
    verdict,
)

ROW = {"blunt": "#Person1# calls #Person2# an idiot for losing the keys, and #Person2# leaves. They meet at nine.",
       "neutral": "At nine they meet again. #Person1# is angry because #Person2# lost the keys."}


@pytest.fixture(scope="module")
def rows():
    """Some rude training dialogues of the kit."""
    return kit_rows("train")[:60]


def test_the_insulting_clause_takes_the_neutral_words_and_the_rest_stays():
    assert reworded(ROW) == ("#Person1# calls #Person2# an idiot for losing the keys, and #Person2# leaves.",
                             "#Person1# is angry because #Person2# lost the keys, and #Person2# leaves.")


@pytest.mark.parametrize("change", [{"blunt": "They meet at nine."}, {"neutral": "It rains."}, {"blunt": ""}, {"neutral": ""}])
def test_without_an_insult_or_a_counterpart_there_is_no_lesson(change):
    assert reworded(ROW | change) is None and critique_lessons([ROW | change]) == [] == revision_lessons([ROW | change])
    with pytest.raises(ValueError, match="none of 1 has a blunt summary with an insult"):
        lessons([ROW | change])


@pytest.mark.parametrize(("sentence", "expected"), [
    ("#Person1# angrily demands the ladder.", "#Person1# demands the ladder."), ("Furious, Ann leaves.", "Unhappy, Ann leaves."),
    ("Ann shouts loudly.", "Ann shouts."), ("Bo crosses the street.", "Bo crosses the street."), ("Angrily, Bo leaves.", "Bo leaves.")])
def test_heated_words_go_or_become_calmer(sentence, expected):
    assert calmed(sentence) == expected and not HEATED.search(calmed(sentence))


@pytest.mark.parametrize(("sentence", "principle", "expected"), [
    ("Ann calls Bo a Fool.", RESPECT, "The word fool insults somebody."), ("Ann calls Bo a fool.", CALM, NOTHING),
    ("Ann is angry.", CALM, "The word angry is heated."), ("Ann is angry.", RESPECT, NOTHING), ("Ann eats pigeons.", RESPECT, NOTHING)])
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
        assert pattern.search(sentence) and not pattern.search(revision) and revision[0] == revision[0].upper() and revision.endswith(".")


def test_prompts_and_completions_come_in_pairs_without_an_empty_one(rows):
    prompts, completions = lessons(rows)
    faults = sum(principle is CALM and objects(critique) for _, principle, critique in critique_lessons(rows))
    assert len(prompts) == len(completions) == len(critique_lessons(rows)) + faults + len(revision_lessons(rows)) and all(prompts) and all(completions)
    assert all(prompt.endswith(("Critique:", "Revision:")) for prompt in prompts)


def test_the_kits_rows_are_at_hand_whatever_data_a_lab_uses(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "elsewhere.csv"))
    held = kit_rows("test")
    assert held and all(row["rude"] and row["blunt"] and row["neutral"] for row in held)
    assert not {row["id"] for row in held} & {row["id"] for row in kit_rows("train")}
