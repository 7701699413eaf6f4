"""The sweep of rewards by rule: end to end on a handful of problems, and what is kept of the real one."""

import numpy as np
import pytest

from helpers.applications.reasoner import PRICES
from helpers.applications.reinforcement import METRICS, RATE
from helpers.applications.solutions import check_solution, pass_at_k
from helpers.applications.word_problems import make_problems
from sweeps import each_once, load_results, reasoning as sweep, run_sweep
from sweeps.reasoning import COMMAND, DRAWS, EXAMPLES, FOLDER, FORM, RIGHT, START, TEST, TRAIN, Bench, Point


@pytest.fixture(scope="module")
def bench():
    """Ten measured problems; two steps of each supervised training."""
    return Bench((300, 4, 6), {"steps": 2, "rate": 5e-3, "batch_size": 4}, {"steps": 2, "rate": 4e-3, "batch_size": 4})


def test_points_have_names_of_their_own_and_all_seeds():
    points = sweep.sweeps()
    every = each_once(points.values())
    assert len(every) == len({point for part in points.values() for point in part})
    assert {point.seed for point in points["ways"]} == {point.seed for point in points["groups"]} == set(sweep.SEEDS)
    assert {point.seed for point in points["rates"]} == {1} and RIGHT in points["rates"] and RIGHT in points["groups"]


@pytest.mark.parametrize("point", [START, EXAMPLES, Point("right", 2, 2), Point("form", 2, 4)], ids=lambda p: p.name)
def test_a_point_is_measured(point, bench, tmp_path, monkeypatch):
    monkeypatch.setitem(DRAWS, "test", 8)
    monkeypatch.setitem(DRAWS, "validation", 2)
    monkeypatch.setattr(sweep, "BATCH", 32)
    run_sweep([point], bench, tmp_path / "results", tmp_path / "work")
    results = load_results(tmp_path / "results", COMMAND, (1,))
    found = results[point.name]
    assert len(found["history"]) == (2 if point.reward in ("right", "form") else 0)
    assert all(set(step) == set(METRICS) for step in found["history"])
    for kind, count in (("test", 6), ("validation", 4)):
        table = found[kind]
        assert all(len(table[name]) == count for name in ("counts", "voted", "tokens", "right", "form", "calculated"))
        assert np.allclose(np.array(table["counts"]) / DRAWS[kind], table["right"], atol=1e-4)
    assert sweep.passes(results, point, 1)[0] == pytest.approx(found["test"]["right"], abs=1e-4)
    assert len(results["base"]["problems"]) == 6 == len(results["base"]["clusters"])


def test_a_start_is_trained_once_and_left_as_it_is(bench, tmp_path):
    before = [weight.clone() for weight in bench.start(1).parameters()]
    bench.measure(Point("right", 1, 2), tmp_path)
    assert all((one == other).all() for one, other in zip(before, bench.start(1).parameters()))


def test_the_kept_results_are_complete_and_of_these_problems():
    results = load_results(FOLDER, COMMAND)
    points = each_once(sweep.sweeps().values())
    assert set(results) == {"base", *(point.name for point in points)}
    train = make_problems(TRAIN, seed=1, prices=PRICES)
    test = make_problems(TEST, seed=2, prices=PRICES, without=train)
    assert results["base"]["problems"] == [problem.text for problem in test]
    for point in points:
        found = results[point.name]
        assert max(found["test"]["counts"]) <= DRAWS["test"] and len(found["test"]["counts"]) == TEST, point.name
        assert len(found["history"]) == (point.steps if point.reward in ("right", "form") else 0), point.name
        shown = [check_solution(text, problem) for text, problem in zip(found["test"]["texts"], test)]
        for verdict, share in zip(shown, found["test"]["right"]):
            assert share > 0 or not verdict.right, point.name
            assert share < 1 or verdict.right, point.name


def test_the_kits_rate_is_the_chosen_one():
    assert sweep.chosen_rate(load_results(FOLDER, COMMAND)) == RATE


def test_the_kept_counts_give_pass_at_k():
    results = load_results(FOLDER, COMMAND)
    counts = np.array(results[START.name]["test"]["counts"])
    order = np.random.default_rng(0).permuted(np.tile(np.arange(DRAWS["test"]), (TEST, 1)), axis=1)
    shuffled = order < counts[:, None]  # which of the draws are right does not matter
    assert sweep.passes(results, START, 4)[0] == pytest.approx(pass_at_k(shuffled, 4))
    assert sweep.passes(results, FORM, 1).shape == (len(sweep.SEEDS), TEST)
