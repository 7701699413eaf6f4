import json
from itertools import chain

import numpy as np
import pytest

from helpers.evaluation.experiments import (
    Outcome,
    baselines,
    by_part,
    clusters_of,
    draw_exemplars,
    headline,
    load_task_rows,
    reference_ceiling,
    run_condition,
    score_tasks,
)
from helpers.evaluation.statistics import mean_interval
from helpers.models.generation import generate
from helpers.settings import load_settings

TRAIN = [
    {
        "dialogue": f"#Person1#: Number {number}.{' Really.' * number}",
        "summary": f"Summary {number}.",
        "headline": f"HEADLINE {number}",
        "topic": "numbers",
    }
    for number in range(12)
]


@pytest.fixture(scope="module")
def settings():
    return load_settings("pocket", max_prompt_tokens=128, max_new_tokens=8, generation_batch_size=4)


@pytest.fixture(scope="module")
def rows(dialogues, summaries):
    return [
        {
            "id": f"row-{number}",
            "dialogue": dialogue,
            "summary": summary,
            "summaries": [summary, "Somebody says something."],
        }
        for number, (dialogue, summary) in enumerate(zip(dialogues, summaries))
    ]


def test_the_same_seed_draws_the_same_exemplars_and_another_one_others():
    assert draw_exemplars(TRAIN, 2, 5, (42, 0)) == draw_exemplars(TRAIN, 2, 5, (42, 0))
    assert draw_exemplars(TRAIN, 2, 5, (42, 0)) != draw_exemplars(TRAIN, 2, 5, (42, 1))


def test_the_order_of_the_training_split_says_nothing():
    assert draw_exemplars(TRAIN[::-1], 2, 5, 7) == draw_exemplars(TRAIN, 2, 5, 7)


def test_each_prompt_gets_exemplars_of_its_own_none_twice():
    drawn = draw_exemplars(TRAIN, 3, 20, "seed")
    names = [tuple(row["summary"] for row in some) for some in drawn]
    assert len(drawn) == 20 and all(len(set(some)) == 3 for some in names) and len(set(names)) > 10


def test_exemplars_come_from_the_shorter_half():
    drawn = {row["summary"] for some in draw_exemplars(TRAIN, 3, 50, 0) for row in some}
    assert drawn == {f"Summary {number}." for number in range(6)}


def test_as_many_shots_as_dialogues_use_the_longer_half_too():
    assert len(draw_exemplars(TRAIN, 12, 1, 0)[0]) == 12
    with pytest.raises(ValueError, match="shots: 13 exemplars asked for, the training split has 12 dialogues"):
        draw_exemplars(TRAIN, 13, 1, 0)


def test_wrong_style_changes_the_summaries_and_nothing_else():
    right, wrong = draw_exemplars(TRAIN, 3, 4, 1), draw_exemplars(TRAIN, 3, 4, 1, wrong_style=True)
    for own, other in zip(chain(*right), chain(*wrong)):
        assert other == {**own, "summary": own["headline"]} != own
    assert all(row["summary"].startswith("Summary") for row in TRAIN)


def test_a_headline_is_made_of_what_a_row_has():
    assert headline(TRAIN[1]) == "HEADLINE 1"
    assert headline({"headline": "", "topic": "cats", "summary": "A cat sleeps."}) == "cats"
    assert headline({"topic": "", "summary": "A cat sleeps on the stove."}) == "A cat sleeps on"


def test_scores_have_a_row_for_each_draw_and_a_column_for_each_dialogue(tiny_model, tiny_tokenizer, settings, rows):
    outcome = run_condition(
        "one-shot", tiny_model, tiny_tokenizer, settings, rows, TRAIN, shots=1, draws=3, template="none"
    )
    assert [len(texts) for texts in outcome.completions] == [6, 6, 6]
    assert {name: scores.shape for name, scores in outcome.scores.items()} == dict.fromkeys(
        ("rouge1", "rouge2", "rougeL", "rougeLsum"), (3, 6)
    )
    assert outcome.per_dialogue().shape == (6,) and np.allclose(
        outcome.per_dialogue("rouge1"), outcome.scores["rouge1"].mean(0)
    )
    interval = outcome.interval()
    assert interval.low <= interval.estimate <= interval.high and np.isclose(
        interval.estimate, outcome.scores["rougeL"].mean()
    )


def test_without_shots_there_is_one_draw_and_the_prompt_is_the_template(tiny_model, tiny_tokenizer, settings, rows):
    outcome = run_condition("no instruction", tiny_model, tiny_tokenizer, settings, rows, draws=3, template="none")
    assert outcome.scores["rougeL"].shape == (1, 6) and outcome.dropped == 0
    expected = generate(
        tiny_model, tiny_tokenizer, [row["dialogue"] for row in rows], max_new_tokens=8, show_progress=False
    )
    assert outcome.completions == [expected]


def test_a_condition_is_repeatable_and_its_draws_differ(tiny_model, tiny_tokenizer, settings, rows, monkeypatch):
    seen = []

    def echo(model, tokenizer, prompts, **parameters):
        seen.append(prompts)
        return ["Somebody says something."] * len(prompts)

    monkeypatch.setattr("helpers.evaluation.experiments.generate", echo)
    runs = [
        run_condition("one-shot", tiny_model, tiny_tokenizer, settings, rows, TRAIN, shots=1, draws=2, template="none")
        for _ in range(2)
    ]
    assert seen[:2] == seen[2:] and seen[0] != seen[1]
    assert np.array_equal(runs[0].scores["rouge1"], np.ones((2, 6)))  # the best of the references counts


def test_exemplars_beyond_the_window_are_counted(tiny_model, tiny_tokenizer, settings, rows):
    long = [{"dialogue": "#Person1#: " + "tomatoes " * 60, "summary": "Tomatoes."}] * 4
    outcome = run_condition(
        "two-shot", tiny_model, tiny_tokenizer, settings, rows, long, shots=2, draws=2, template="none"
    )
    assert outcome.dropped > 0
    assert len(outcome.completions[0]) == 6


def test_parts_keep_their_order_and_rows_without_one_are_the_test_part():
    rows = [{"part": "known"}, {"part": "unseen"}, {"part": "known"}, {}, {"part": None}]
    assert {part: len(found) for part, found in by_part(rows).items()} == {"known": 2, "unseen": 1, "test": 2}
    assert list(by_part(rows)) == ["known", "unseen", "test"]


def test_tasks_are_scored_by_kind_and_clustered_by_dialogue(tiny_model, tiny_tokenizer, settings, monkeypatch):
    tasks = [
        {"id": f"row-{number // 2}", "task": ("topic", "question")[number % 2], "prompt": "?", "answer": "The cat."}
        for number in range(8)
    ]
    monkeypatch.setattr(
        "helpers.evaluation.experiments.generate",
        lambda model, tokenizer, prompts, **parameters: ["the cat", "a dog"] * 3 + ["Cat!", "cat"],
    )
    scores = score_tasks(tasks, tiny_model, tiny_tokenizer, settings)
    assert list(scores) == ["question", "topic"]
    assert scores["topic"].estimate == 1 and scores["question"].estimate == 0.25
    assert scores["question"].low <= 0.25 <= scores["question"].high


def test_task_rows_are_those_of_one_part_and_none_without_a_file(tmp_path):
    (tmp_path / "data").mkdir()
    here = load_settings("pocket", data=str(tmp_path / "data"))
    assert load_task_rows(here, "known") == []
    for split in ("train", "validation", "test"):
        line = {"id": split, "dialogue": f"#Person1#: About {split}.", "summary": "A summary."}
        (tmp_path / "data" / f"{split}.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    lines = [{"id": "test", "task": "topic", "answer": "cats", "part": part} for part in ("known", "unseen", "known")]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert [row["part"] for row in load_task_rows(here, "known")] == ["known", "known"]


def test_baselines_take_no_model(rows):
    first, whole = baselines(rows).values()
    assert (
        first[0].count("#Person") == 2
        and whole[0] == rows[0]["dialogue"].replace("\n", " ")
        and "\n" not in first[0] + whole[0]
    )


def test_the_reference_ceiling_needs_two_summaries(rows):
    ceiling = reference_ceiling([*rows, {"summaries": ["The same words.", "Others.", "The same words."]}])
    assert ceiling.shape == (7,) and ceiling[-1] == 1 and (ceiling[:-1] < 1).all()
    assert reference_ceiling([*rows, {"summaries": ["alone"]}]) is None


def test_the_mean_over_draws_is_the_unit_of_intervals():
    outcome = Outcome("one-shot", [["a", "b"]] * 2, {"rougeL": np.array([[0.0, 1.0], [1.0, 1.0]])}, 0)
    assert outcome.per_dialogue().tolist() == [0.5, 1.0]


def test_dialogues_of_one_scenario_are_drawn_together_others_alone():
    rows = [{"id": "7", "scenario": "inn"}, {"id": "8", "scenario": "inn"}, {"id": "9", "scenario": None}, {"id": "10"}]
    assert clusters_of(rows) == ["inn", "inn", "9", "10"]
    rows = [{"id": "1", "group": "7b"}, {"id": "2", "group": 0}, {"id": "3", "group": ""}, {"id": "4", "group": None}]
    assert clusters_of(rows) == ["7b", "0", "3", "4"], "as rows of one group stay in one split"
    assert clusters_of([{"id": "1", "scenario": "inn", "group": "7b"}]) == ["inn"]
    assert clusters_of([{"id": "1", "own_scenario": "inn"}]) == ["1"], "somebody's own column steers nothing"
    values, names = np.repeat([0.0, 0.3, 1.0], 10), np.repeat(["a", "b", "c"], 10).tolist()
    alone, alike = (Outcome("one-shot", [[""] * 30], {"rougeL": values[None]}, 0, each) for each in (None, names))
    assert alike.interval() == mean_interval(values, names)
    assert alike.interval().high - alike.interval().low > 1.5 * (alone.interval().high - alone.interval().low)
