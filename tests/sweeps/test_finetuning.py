import json

import numpy as np
import pytest

from helpers.evaluation.experiments import by_task
from helpers.training.finetuning_methods import ATTENTION, full, lora
from sweeps import SEEDS, Results, finetuning as finetuning_sweep, load_results, run_sweep
from sweeps.finetuning import (
    COMMAND,
    METHODS,
    RANKS,
    RATES,
    USUAL_STEPS,
    Bench,
    Point,
    points,
    sweeps,
    training_texts,
)
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings

ROWS = [
    {"id": f"row-{number}", "dialogue": dialogue, "summary": summary, "topic": "cats"}
    for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES))
]
TASKS = [
    {"id": row["id"], "task": task, "prompt": f"{task}?", "answer": "cats", "part": "train"}
    for row in ROWS
    for task in ("topic", "tone")
]


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, train, validation and test alike."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "tasks.jsonl").write_text(
        "".join(
            json.dumps({"id": f"{split}-{row['id']}", "task": task, "answer": "cats", "part": split}) + "\n"
            for split in ("train", "test")
            for row in ROWS
            for task in ("topic", "tone")
        ),
        encoding="utf-8",
    )
    splits = {
        split: [row | {"id": f"{split}-{row['id']}"} for row in ROWS] for split in ("train", "validation", "test")
    }
    return Bench(tiny_settings(folder, tiny_model, tiny_tokenizer, splits, train_steps=4))


def test_every_point_has_a_name_of_its_own_and_all_seeds():
    names = [point.name for point in points()]
    assert len(set(names)) == len(names) and {name[-2:] for name in names} == {f"s{seed}" for seed in SEEDS}
    assert {point.method.options["r"] for point in sweeps()["ranks"]} == set(RANKS)
    for name, found in sweeps().items():
        assert {point.seed for point in found} == ({SEEDS[0]} if name == "rates" else set(SEEDS)), name
    assert Point(lora(8), 300, True, 2).name == "lora-r8-lr0.004-n300-mixed-s2"
    assert Point(lora(8, ATTENTION), 300, False, 2).name == "lora-r8-q+v-lr0.004-n300-s2"
    assert Point(full(), 2500, False, 1, 600).name == "full-lr0.0005-n2500-600steps-s1"
    assert Point(full(), steps=USUAL_STEPS).name == Point(full()).name == "full-lr0.0005-n2500-s1"


def test_the_rate_of_each_method_is_among_those_that_were_tried():
    assert set(RATES) == set(METHODS)
    assert all(method.learning_rate in RATES[name] for name, method in METHODS.items())


def test_smaller_amounts_lie_within_larger_ones_and_mixtures_add_tasks():
    few, many = (training_texts(ROWS, TASKS, rows, False, seed=1) for rows in (2, 5))
    assert few[1] == many[1][:2] and len(many[0]) == 5 and training_texts(ROWS, TASKS, 5, False, seed=2) != many
    prompts, completions = training_texts(ROWS, TASKS, 5, True, seed=1)
    assert (prompts[:5], completions[:5]) == many and len(prompts) == 10 and set(completions[5:]) == {"cats"}


def test_a_sweep_goes_on_where_it_stopped(bench, tmp_path, monkeypatch):
    chosen = [Point(full(1e-2), 4, False, 1), Point(lora(2), 4, True, 1)]
    measured, stock = [], Bench.measure

    def stops(self, point, folder):
        measured.append(point.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return stock(self, point, folder)

    monkeypatch.setattr(finetuning_sweep.Bench, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    assert measured == [chosen[0].name, chosen[1].name, chosen[1].name]
    found = load_results(tmp_path / "results", COMMAND)
    assert set(found) == {"base", *(point.name for point in chosen)} and not list((tmp_path / "work").iterdir())
    assert len(found["base"]["rouge"]["rouge1"]) == 6 and len(found[chosen[1].name]["answered"]) == 12
    assert found["base"]["rouge"] != found[chosen[0].name]["rouge"]
    assert set(by_task(found["base"]["tasks"], found["base"]["answered"])) == {"topic", "tone"}


def test_a_point_has_a_row_for_each_seed_and_a_missing_seed_is_named():
    results = Results(
        {
            Point(full(), 2500, False, seed).name: {"rouge": {"rouge1": [0.1 * seed, 0.5]}, "answered": [1, seed % 2]}
            for seed in SEEDS
        },
        COMMAND,
    )
    assert results.scores(Point(full())) == pytest.approx(np.array([[0.1 * seed, 0.5] for seed in SEEDS]))
    assert results.scores(Point(full()), "answered").tolist() == [[1, seed % 2] for seed in SEEDS]
    with pytest.raises(
        KeyError, match="full-lr0.0005-n300-s1.json is not among the results; make it with: python -m sweeps.finetuning"
    ):
        results.scores(Point(full(), 300))
