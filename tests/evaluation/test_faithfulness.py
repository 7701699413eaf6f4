"""Faithfulness: broken words and unsupported values are found, right ones pass, in data with values and without."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.data.loading import load_dialogues, load_world
from helpers.data.records import DataError
from helpers.evaluation.faithfulness import (
    FactChecker,
    broken_words,
    lexicon_of,
    load_fact_checker,
    names_and_numbers,
    word_list,
)
from helpers.settings import load_settings

LEXICON = lexicon_of(["The kettle is broken.", "#Person1# can't come on Tuesday."])
ROW = {
    "dialogue": "#Person1#: The toaster came at half past six.\n#Person2#: Then ask Mrs. Okafor.",
    "summaries": ["#Person2# sends #Person1# to a neighbour."],
    "scenario": "lost_parcel",
}
VALUES = {"lost_parcel": ["toaster", "kettle", "six", "half past six", "seven", "Mrs. Okafor", "Mr. Sato"]}


@pytest.fixture(scope="module")
def pocket():
    settings = load_settings("pocket")
    data = load_dialogues(settings)
    return data, load_fact_checker(settings, data)


def test_words_are_compared_without_case_placeholders_and_numbers():
    assert word_list("#Person1#'s Half-eaten CAKE, 40 of them… can’t") == [
        "s",
        "half-eaten",
        "cake",
        "of",
        "them",
        "can't",
    ]


@pytest.mark.parametrize(
    ("summary", "broken"),
    [
        ("The kettle is broken on Tuesday.", []),
        ("The ketsday is broken.", ["ketsday"]),
        ("A neighbour gets the toaster.", ["a", "gets"]),  # known from dialogue and reference: the others are
        ("#Person1# and #Person2#: 12", ["and"]),
        ("", []),
    ],
)
def test_broken_words_stand_in_no_text_a_model_could_have_them_from(summary, broken):
    sources = [ROW["dialogue"], ROW["summaries"][0].replace("a neighbour", "neighbour")]
    assert broken_words(summary, LEXICON, sources) == broken


def test_values_are_whole_words_and_the_longest_counts():
    found = FactChecker(LEXICON, VALUES).check(
        "Mrs. Okafor has the toaster until six, seven at most; sixty kettles.", ROW
    )
    assert found.supported == ("mrs. okafor", "toaster") and found.unsupported == ("six", "seven")
    right = FactChecker(LEXICON, VALUES).check("The toaster came at half past six, at Half past six.", ROW)
    assert right.supported == ("toaster", "half past six") and not right.unsupported


def test_without_values_names_and_numbers_stand_for_facts():
    assert names_and_numbers("Then Anna pays 9:40. Tom and I go to New York. #Person1# agrees.") == [
        "Anna",
        "New",
        "York",
        "9:40",
    ]
    row = {"dialogue": "#Person1#: I meet Anna at 9:40.\n#Person2#: Fine."}
    found = FactChecker(LEXICON).check("They meet Anna and Bert at 9:40, not at 10.", row)
    assert found.supported == ("Anna", "9:40") and found.unsupported == ("Bert", "10")


def test_counts_come_row_by_row():
    checker = FactChecker(LEXICON, VALUES)
    found = checker.per_dialogue(["The toaster.", "The kettlx and seven."], [ROW, ROW])
    assert {name: values.tolist() for name, values in found.items()} == {
        "broken": [0.0, 1.0],
        "named": [1.0, 1.0],
        "supported": [1.0, 0.0],
    }
    with pytest.raises(ValueError, match="1 summaries but 2 rows"):
        checker.per_dialogue(["The toaster."], [ROW, ROW])


def test_references_are_faithful_and_those_of_other_dialogues_are_not(pocket):
    """Measured: 99.9% of the values that references name are their dialogue's; of another dialogue's reference 26%."""
    data, checker = pocket
    rows = [row for row in data["test"] if row["part"] == "known"]
    own = checker.per_dialogue([row["summaries"][0] for row in rows], rows)
    assert own["broken"].sum() == 0 and own["supported"].sum() / own["named"].sum() > 0.99
    others = {}
    for row in rows:
        others.setdefault(row["scenario"], []).append(row)
    swapped = [
        group[(place + 1) % len(group)]["summaries"][0] for group in others.values() for place in range(len(group))
    ]
    found = checker.per_dialogue(swapped, [row for group in others.values() for row in group])
    assert found["supported"].sum() / found["named"].sum() < 0.4 and np.mean(found["named"]) > 2


def test_a_data_set_without_values_has_none_and_a_broken_file_is_named(tmp_path, pocket):
    settings = load_settings("pocket")
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps(dict(pocket[0][split][0])) + "\n", encoding="utf-8")
    own = replace(settings, data=str(folder))
    assert load_world(own) == ([], {})
    (tmp_path / "world.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="world.json"):
        load_world(own)
