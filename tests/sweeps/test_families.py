"""The sweep of the families: on few dialogues from end to end, and what is kept of the real one."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.settings import load_settings
from helpers.transformer.objectives import FAMILIES
from sweeps import Results, families as families_sweep, load_results, run_sweep
from sweeps.families import (
    COMMAND,
    CONTINUED,
    FOLDER,
    GAP,
    PROBES,
    SEEDS,
    TASKS,
    Bench,
    Point,
    points,
    probed,
)


@pytest.fixture(scope="module")
def bench():
    return Bench(load_settings("pocket"))


@pytest.fixture(scope="module")
def results():
    return load_results(FOLDER, COMMAND, SEEDS)


def test_a_run_leaves_all_that_the_lab_reads(bench, tmp_path):
    small = copy.copy(bench)
    small.held_out, small.held_ids, small.excerpts, small.starts = (
        part[:20] for part in (bench.held_out, bench.held_ids, bench.excerpts, bench.starts)
    )
    small.short = [bench.short[0], bench.short[1][:20]]
    run_sweep([Point("encoder-decoder", 1, 20)], small, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)["encoder-decoder-s1-20-steps"]
    assert set(found["tasks"]) == set(TASKS) and all(
        len(losses) == 20 and np.isfinite(losses).all() for losses in found["tasks"].values()
    )
    assert (
        found["passes"] == {"gap of 1": 4, f"gap of {GAP}": 4, "gap of 1, left side": 4, "continuation": 1}
        and len(found["losses"]) == 20
    )
    assert {len(found["probes"][label]) for label in PROBES} == {2} and json.dumps(found)


def test_no_held_out_dialogue_is_among_those_of_the_training(bench):
    assert not {row["dialogue"] for row in bench.train} & {row["dialogue"] for row in bench.held_out}
    assert len({row["topic"] for row in bench.train}) == families_sweep.TOPICS


def test_a_task_has_a_row_for_each_seed_and_a_probe_is_averaged():
    made = Results(
        {
            f"decoder-only-s{seed}": {
                "tasks": {"continuation": [seed, 1.0]},
                "probes": {"topic": [[0, 0, 1], [seed == 1, 1, 0]]},
            }
            for seed in SEEDS
        },
        COMMAND,
        SEEDS,
    )
    assert made.scores(Point("decoder-only"), "continuation", within=("tasks",)).tolist() == [[1, 1], [2, 1], [3, 1]]
    right, numbers = probed(made, "decoder-only", "topic")
    assert right.tolist() == pytest.approx([1 / 3, 1, 0]) and numbers == [0, 0, 1]
    with pytest.raises(
        KeyError, match=r"encoder-only-s1.json is not among the results; make it with: python -m sweeps.families"
    ):
        made.scores(Point("encoder-only"), "continuation", within=("tasks",))


def test_the_kept_results_are_complete(results):
    assert set(results) == {"base", *(point.name for point in points())} and len(points()) == (len(FAMILIES) + 1) * len(
        SEEDS
    )
    count = len(results["base"]["ids"])
    for point in points():
        found = results[point.name]
        assert found["point"] == {"family": point.family, "seed": point.seed, "steps": point.steps}
        assert all(len(losses) == count for losses in found["tasks"].values()) and set(found["tasks"]) == set(TASKS)
        assert found["written"][0]["continued"] and len(found["losses"]) == 20
        assert found["losses"][-1] < found["losses"][0]
    assert len({found["weights"] for name, found in results.items() if name != "base"}) == len(points())


def test_a_decoder_never_sees_the_right_side(results):
    for point in points():
        tasks = results[point.name]["tasks"]
        assert (tasks["gap of 1"] == tasks["gap of 1, left side"]) == (point.family == "decoder-only")


def test_the_kept_results_are_of_the_shipped_dialogues(bench, results):
    assert bench.base() == results["base"] and CONTINUED < families_sweep.LENGTH


def test_the_folder_is_among_the_labs_results():
    assert Path(__file__).resolve().parents[2] / "sweeps" / "results" / "families" == FOLDER
