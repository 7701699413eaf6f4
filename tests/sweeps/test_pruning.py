"""The sweep of pruning: on a tiny model from end to end, and what is kept of the real one."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.data.loading import load_dialogues
from helpers.evaluation.experiments import by_part
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from sweeps import SEEDS, Results, load_results, run_sweep
from sweeps.pruning import COMMAND, FOLDER, KINDS, ROWS, STEPS, Bench, Point, points, sweeps
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, train, validation and test alike; two steps of fine-tuning."""
    folder = tmp_path_factory.mktemp("world")
    splits = {
        split: [
            {"id": f"{split}-{number}", "dialogue": dialogue, "summary": summary}
            for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES))
        ]
        for split in ("train", "validation", "test")
    }
    return Bench(tiny_settings(folder, tiny_model, tiny_tokenizer, splits, train_steps=2), folder / "runs")


def test_every_point_has_a_name_of_its_own_and_recoveries_have_all_seeds():
    names = [point.name for point in points()]
    assert len(set(names)) == len(names) and {point.kind for point in points()} == set(KINDS)
    assert all(point.trained for point in sweeps()["recovery"]) and not any(point.trained for point in sweeps()["cuts"])
    assert {point.seed for point in sweeps()["recovery"]} == set(SEEDS)
    assert {(point.kind, point.share) for point in sweeps()["recovery"]} <= {
        (point.kind, point.share) for point in sweeps()["cuts"]
    }
    assert (
        Point("2:4 wanda", 0.5).name == "2of4-wanda-0.5-none"
        and Point("layer", 0.7, "full", 2).name == "layer-0.7-full-s2"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_cut_and_leaves_the_model(bench, kind):
    before = fingerprint(bench.model)
    assert (fingerprint(bench.cut(kind, 0.5)) == before) == (kind == "dense") and fingerprint(bench.model) == before


def test_an_unknown_kind_is_named(bench):
    with pytest.raises(ValueError, match="kind: 'rows' is not one of dense, layer"):
        bench.cut("rows", 0.5)


def test_recovery_by_all_weights_keeps_zeros_and_a_merged_adapter_does_not(bench, tmp_path):
    chosen = [
        Point("layer", 0.5),
        Point("layer", 0.5, "full", 1),
        Point("layer", 0.5, "lora", 1),
        Point("neurons gradient", 0.5, "full", 1),
    ]
    run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)
    assert set(found) == {"base", *(point.name for point in chosen)} and not list((tmp_path / "work").iterdir())
    alone, every, adapter, cut = (found[point.name] for point in chosen)
    assert alone["zeros"] == pytest.approx(0.5, abs=0.01) and "record" not in alone
    assert every["zeros after"] == every["zeros"] == alone["zeros"] and adapter["zeros after"] < 0.01
    assert (
        cut["parameters"] < every["parameters"] == alone["parameters"] and every["record"]["settings"]["steps"] == STEPS
    )
    assert (
        np.mean(every["loss"]) < np.mean(alone["loss"])
        and len(every["rouge"]["rouge1"]) == len(found["base"]["ids"]) == 6
    )


def test_a_recovery_has_a_row_for_each_seed_and_a_cut_has_one():
    results = Results(
        {
            Point("layer", 0.5, "full", seed).name: {"loss": [seed, 1.0], "rouge": {"rouge1": [0.1 * seed, 0.5]}}
            for seed in SEEDS
        }
        | {Point("layer", 0.5).name: {"loss": [7.0, 3.0]}, "base": {"clusters": ["inn", "bank"]}},
        COMMAND,
    )
    cut, retrained = Point("layer", 0.5), Point("layer", 0.5, "full")
    assert results.scores(retrained, "loss").tolist() == [[seed, 1] for seed in SEEDS]
    assert results.scores(cut, "loss").tolist() == [[7.0, 3.0]]
    assert results.scores(retrained) == pytest.approx(np.array([[0.1 * seed, 0.5] for seed in SEEDS]))
    assert results.interval(retrained, "loss", minus=cut).estimate == pytest.approx(np.mean(SEEDS) / 2 + 0.5 - 5)
    with pytest.raises(
        KeyError, match=r"layer-0.9-none.json is not among the results; make it with: python -m sweeps.pruning"
    ):
        results.scores(Point("layer", 0.9), "loss")


def test_the_kept_results_are_complete_and_of_these_settings():
    results, settings = load_results(FOLDER, COMMAND), load_settings("pocket")
    assert set(results) == {"base", *(point.name for point in points())}
    rows = next(iter(by_part(load_dialogues(settings)["test"]).values()))[:ROWS]
    assert results["base"]["ids"] == [row["id"] for row in rows]
    assert results["base"]["clusters"] == [row["scenario"] for row in rows]
    for point in points():
        found = results[point.name]
        assert len(found["loss"]) == len(found["rouge"]["rouge1"]) == ROWS, point.name
        if point.recovery != "none":
            record = found["record"]
            assert record["settings"]["steps"] == STEPS and record["settings"]["seed"] == point.seed, point.name
            assert record["method"]["kind"] == {"full": "sparse"}.get(point.recovery, point.recovery), point.name
        if (point.kind, point.share, point.recovery) == ("dense", 0.0, "full"):
            assert record["base"] == results["base"]["start"]


def test_what_is_kept_says_where_zeros_are_left():
    results = load_results(FOLDER, COMMAND)
    for point in points():
        found, text = results[point.name], json.dumps(results[point.name]["point"])
        wanted = point.share if point.kind.split()[0] in ("layer", "global", "wanda", "2:4") else 0
        assert found["zeros"] == pytest.approx(wanted, abs=0.01), text
        if point.recovery == "full":
            assert found["zeros after"] == found["zeros"], text


def test_the_folder_is_among_the_labs_results():
    assert Path(__file__).resolve().parents[2] / "sweeps" / "results" / "pruning" == FOLDER
