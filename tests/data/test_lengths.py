"""Lengths: rows that are too long are left out with a warning, the others stay as they are, and nothing is cut."""

import json
from dataclasses import replace

import pytest
from datasets import Dataset

from helpers.data.lengths import a_few, fitting_dialogues, token_lengths
from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.data.prompts import TEMPLATES, build_prompt
from helpers.data.records import DataError
from helpers.models.loading import ModelError
from helpers.settings import load_settings
from tests.tiny_world import tiny_settings


def row(number, **changes):
    return {
        "id": f"d{number}",
        "dialogue": "#Person1#: The kettle?\n#Person2#: It is broken.",
        "summary": "The kettle is broken.",
    } | changes


LONG_TALK, LONG_SUMMARY = (
    "#Person1#: The kettle has stopped working again.\n" * 20,
    "The kettle has stopped working again. " * 12,
)


@pytest.fixture
def settings(tiny_model, tiny_tokenizer, tmp_path):
    splits = {
        "train": [row(1), row(2, dialogue=LONG_TALK), row(3, summary=LONG_SUMMARY)],
        "validation": [row(4), row(5, summary=LONG_SUMMARY), row(9)],
        "test": [row(6), row(7, summary=LONG_SUMMARY), row(8, dialogue=LONG_TALK)],
    }
    return tiny_settings(tmp_path, tiny_model, tiny_tokenizer, splits)


def test_what_is_too_long_is_left_out_and_named(settings):
    with pytest.warns(UserWarning, match="4 of 9 rows are too long and were left out") as warned:
        data = fitting_dialogues(settings)
    assert {split: found["id"][:] for split, found in data.items()} == {
        "train": ["d1"],
        "validation": ["d4", "d9"],
        "test": ["d6", "d7"],
    }
    said = str(warned[0].message)
    assert (
        "train, 'd2', column dialogue: takes" in said
        and "the window holds 128" in said
        and "validation, 'd5', column summary: takes" in said
    )
    whole = {found["id"]: found for split in load_dialogues(settings).values() for found in split}
    assert all(found == whole[found["id"]] for split in data.values() for found in split), "nothing is cut"


def test_the_models_window_counts_where_it_is_smaller_than_the_setting(settings):
    """FLAN-T5 reads 512 tokens, the profile pocket asks for 1,024."""
    with pytest.warns(UserWarning, match="takes .* tokens as a prompt, the window holds 128"):
        data = fitting_dialogues(replace(settings, max_prompt_tokens=100_000))
    assert data["train"]["id"][:] == ["d1"]


def test_what_stays_can_be_trained_on(settings, tiny_tokenizer):
    with pytest.warns(UserWarning):
        data = fitting_dialogues(settings)
    limits = (tiny_tokenizer, settings.max_prompt_tokens, settings.max_new_tokens)
    for split in ("train", "validation"):
        assert len(encode_pairs(*summary_pairs(list(data[split])), *limits)) == len(data[split])
    with pytest.raises(ValueError, match="the limit is"):
        encode_pairs(*summary_pairs(list(load_dialogues(settings)["train"])), *limits)


def test_lengths_are_those_of_the_prompt_and_of_the_first_summary(tiny_tokenizer):
    rows = [row(1), row(2, dialogue=LONG_TALK)]
    lengths = token_lengths(rows, tiny_tokenizer)
    assert [each.prompt for each in lengths] == [
        len(tiny_tokenizer(build_prompt(each["dialogue"]))["input_ids"]) for each in rows
    ]
    assert (
        lengths[0].summary == len(tiny_tokenizer("The kettle is broken.")["input_ids"])
        and token_lengths([], tiny_tokenizer) == []
    )


@pytest.mark.parametrize(
    "split, rows, message",
    [
        ("train", [row(5, summary=LONG_SUMMARY)], "0 .* 'train', which needs 1; shorten .*'d5', column summary"),
        ("validation", [row(5), row(6, dialogue=LONG_TALK)], "1 .* 'validation', which needs 2; shorten .*'d6'"),
        (
            "test",
            [row(5), row(6, dialogue=LONG_TALK)],
            "1 .* 'test', which needs 2; shorten .*max_prompt_tokens",
        ),
        ("test", [row(5)], "1 .* 'test', which needs 2; add rows$"),
    ],
)
def test_a_split_with_too_few_rows_that_fit_is_an_error(tiny_model, tiny_tokenizer, tmp_path, split, rows, message):
    """An interval over dialogues needs two of them, and labs measure on validation too."""
    splits = {"train": [row(1)], "validation": [row(1), row(2)], "test": [row(3), row(4)]} | {split: rows}
    with pytest.raises(DataError, match=f"(?s)room for {message}"):
        fitting_dialogues(tiny_settings(tmp_path, tiny_model, tiny_tokenizer, splits))


def test_what_fits_fits_under_every_template(settings, tiny_tokenizer):
    dialogue = row(4)["dialogue"]
    tokens = {name: len(tiny_tokenizer(build_prompt(dialogue, template=name))["input_ids"]) for name in TEMPLATES}
    (length,) = token_lengths([row(4)], tiny_tokenizer)
    assert length.prompt == tokens["conversation"] < length.longest == max(tokens.values())
    for limit, fits in ((length.longest, True), (length.longest - 1, False)):
        narrow = replace(settings, max_prompt_tokens=limit)
        assert bool(length.too_long(narrow, "test")) != fits


def test_a_model_without_a_tokenizer_is_named(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text(json.dumps({"model_type": "t5"}), encoding="utf-8")
    with pytest.raises(ModelError, match="has no tokenizer .*save it into the same folder"):
        fitting_dialogues(load_settings("pocket", model=str(tmp_path / "empty"), data=settings.data))


@pytest.mark.parametrize("rows, count", [(15, 8), (191, 96), (2500, 96), (8, 8), (3, 8)])
def test_a_few_rows_lie_evenly_over_all_of_each_part(rows, count):
    part = {"part": ["known"] * rows + ["unseen"] * 5}
    found = a_few(Dataset.from_dict({"number": list(range(rows)) + [0] * 5} | part), count)
    numbers = [row["number"] for row in found if row["part"] == "known"]
    gaps = {after - before for before, after in zip(numbers, [*numbers[1:], rows])}
    assert numbers[0] == 0 and len(numbers) == min(rows, count) and max(gaps) - min(gaps) <= 1
    assert len(found) - len(numbers) == 5 and list(found["part"]) == sorted(found["part"])
