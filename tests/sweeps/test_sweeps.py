"""What all sweeps share: points are measured once, say how they were made, and are read with intervals."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.hardware import machine
from sweeps import PACKAGES, SEEDS, Results, command_line, each_once, load_results, run_sweep
from sweeps.intervals import difference_over_seeds, mean_over_seeds


@dataclass(frozen=True)
class Square:
    """A point: a number."""

    number: int

    @property
    def name(self):
        return f"n{self.number}"


class Squares:
    """A bench: squares."""

    def __init__(self, work=None):
        self.measured = []

    def base(self):
        return {"square": 0}

    def measure(self, point, work):
        self.measured.append(point.number)
        return {"square": point.number**2}


SWEEPS = {"small": [Square(1), Square(2)], "large": [Square(2), Square(30), Square(40)]}


def test_points_of_the_same_name_count_once():
    assert [point.number for point in each_once(SWEEPS.values())] == [1, 2, 30, 40]


def test_what_has_a_file_is_not_measured_again(tmp_path):
    bench = Squares()
    run_sweep(SWEEPS["small"], bench, tmp_path, tmp_path / "work")
    (tmp_path / "n1.json").unlink()
    run_sweep(SWEEPS["small"], bench, tmp_path, tmp_path / "work")
    assert bench.measured == [1, 2, 1]
    found = load_results(tmp_path, "make")
    assert {name: one["square"] for name, one in found.items()} == {"base": 0, "n1": 1, "n2": 4}


def test_a_record_says_what_it_was_made_with(tmp_path):
    run_sweep(SWEEPS["small"], Squares(), tmp_path, tmp_path / "work")
    made = load_results(tmp_path, "make")["n1"]["made"]
    assert made["versions"] == {package: version(package) for package in PACKAGES} and made["seconds"] == 0
    assert made["machine"] == machine("cpu")


@pytest.mark.parametrize(("device", "named"), [("cpu", "the processor"), ("cuda", "the card")])
def test_the_machine_is_that_of_the_benchs_settings(device, named, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeps.machine", {"cpu": "the processor", "cuda": "the card"}.get)
    bench = Squares()
    bench.settings = SimpleNamespace(device=device)
    run_sweep(SWEEPS["small"], bench, tmp_path, tmp_path / "work")
    assert load_results(tmp_path, "make")["n1"]["made"]["machine"] == named


def test_missing_results_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no results; make them with: python -m squares"):
        load_results(tmp_path, "python -m squares")
    run_sweep(SWEEPS["small"], Squares(), tmp_path, tmp_path / "work")
    with pytest.raises(KeyError, match="n30.json is not among the results; make it with: python -m squares"):
        load_results(tmp_path, "python -m squares")["n30"]


@pytest.mark.parametrize(
    "only, expected", [(["--only", "large"], {"n2", "n30", "n40"}), ([], {"n1", "n2", "n30", "n40"})]
)
def test_parts_share_the_points_between_them(only, expected, tmp_path):
    for part, folder in (("1/2", "first"), ("2/2", "second")):
        command_line(
            "",
            SWEEPS,
            Squares,
            tmp_path,
            [*only, "--part", part, "--results", str(tmp_path / folder), "--work", str(tmp_path)],
        )
    first, second = ({path.stem for path in (tmp_path / folder).iterdir()} - {"base"} for folder in ("first", "second"))
    assert first | second == expected and not first & second
    assert json.loads((tmp_path / "first" / "base.json").read_text(encoding="utf-8")) == {"square": 0}


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1"])
def test_a_part_that_makes_no_sense_is_named(part, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command_line("", SWEEPS, Squares, tmp_path, ["--part", part])
    assert f"'{part}' is not of the form 1/2" in capsys.readouterr().err


@dataclass(frozen=True)
class Run:
    """A point with seeds, or one that is not trained."""

    kind: str
    seed: int = SEEDS[0]
    trained: bool = True

    @property
    def name(self):
        return f"{self.kind}-s{self.seed}" if self.trained else self.kind


SCENARIOS = ["inn", "inn", "bank", "bank", "zoo", "zoo"]
DRAWS = np.random.default_rng(0).normal(size=(2, len(SEEDS), len(SCENARIOS)))  # of two kinds of runs


@pytest.fixture
def results():
    """Two kinds of runs, a cut that nobody trained, and what was known before; a task on the first four rows alone."""
    found = {
        Run(kind, seed).name: {
            "losses": row.tolist(),
            "rouge": {"rouge1": (row / 10).tolist()},
            "drawn": [(row - 1).tolist(), (row + 3).tolist()],
            "tasks": {"gap": (2 * row[:4]).tolist()},
        }
        for kind, draws in zip(("one", "other"), DRAWS)
        for seed, row in zip(SEEDS, draws)
    }
    cut = {"losses": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]}
    base = {"losses": [1.0] * 6, "rouge": {"rouge1": [0.5] * 6}, "clusters": SCENARIOS, "gap_clusters": SCENARIOS[:4]}
    return Results(found | {"cut": cut, "base": base}, "python -m runs")


def test_scores_have_a_row_for_each_seed(results):
    assert results.scores(Run("one"), "losses") == pytest.approx(DRAWS[0])
    assert results.scores(Run("one", SEEDS[-1]), "losses") == pytest.approx(DRAWS[0])  # with any seed
    assert results.scores(Run("other")) == pytest.approx(DRAWS[1] / 10)  # from the table "rouge"
    assert results.scores(Run("one"), "gap", within=("tasks",)) == pytest.approx(2 * DRAWS[0][:, :4])
    assert results.scores(Run("one"), "drawn") == pytest.approx(DRAWS[0] + 1)  # the mean of the draws


def test_what_was_not_trained_has_one_row(results):
    assert results.scores("base", "losses").tolist() == [[1.0] * 6]
    assert results.scores(Run("cut", trained=False), "losses").tolist() == [[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]


def test_a_sweep_may_have_seeds_of_its_own(results):
    few = Results(results, results.command, seeds=SEEDS[:2])
    assert few.scores(Run("one"), "losses") == pytest.approx(DRAWS[0][:2])


def test_a_seed_that_was_not_measured_is_named(results):
    del results["one-s3"]
    with pytest.raises(KeyError, match="one-s3.json is not among the results; make it with: python -m runs"):
        results.scores(Run("one"), "losses")


def test_an_interval_is_over_seeds_and_clusters(results):
    assert results.interval(Run("one"), "losses") == mean_over_seeds(DRAWS[0], SCENARIOS)
    assert results.interval(Run("one"), "losses") != mean_over_seeds(DRAWS[0])  # as if rows were not alike
    assert results.interval("base", "losses").estimate == 1
    cut = results.interval(Run("cut", trained=False), "losses")
    assert cut == mean_over_seeds([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]], SCENARIOS) and cut.low < 2.5 < cut.high


def test_a_difference_is_taken_seed_by_seed_and_row_by_row(results):
    one, other, cut = Run("one"), Run("other"), Run("cut", trained=False)
    assert results.interval(one, "losses", minus=other) == difference_over_seeds(DRAWS[0], DRAWS[1], SCENARIOS)
    assert results.interval(one, "losses", minus="base") == mean_over_seeds(DRAWS[0] - 1, SCENARIOS)
    assert results.interval(one, "losses", minus=cut).estimate == pytest.approx(DRAWS[0].mean() - 2.5)
    assert results.interval(one, "losses", minus=one) == mean_over_seeds(np.zeros((len(SEEDS), 6)), SCENARIOS)


def test_rows_can_be_chosen(results):
    chosen = np.array([True, False, True, True, False, True])
    clusters = [name for name, taken in zip(SCENARIOS, chosen) if taken]
    found = results.interval(Run("one"), "losses", minus=Run("other"), where=chosen)
    assert found == difference_over_seeds(DRAWS[0][:, chosen], DRAWS[1][:, chosen], clusters)
    assert results.interval(Run("one"), "losses", where=chosen.tolist()) == mean_over_seeds(
        DRAWS[0][:, chosen], clusters
    )
    assert results.interval(Run("one"), "losses", where=np.flatnonzero(chosen)) == mean_over_seeds(
        DRAWS[0][:, chosen], clusters
    )


def test_a_metric_or_a_table_may_have_rows_of_its_own(results):
    assert results.clusters() == results.clusters("losses") == SCENARIOS
    assert results.clusters("gap", within=("tasks",)) == SCENARIOS[:4]
    results["base"]["tasks_clusters"] = ["a", "a", "b", "c"]
    assert results.clusters("gap", within=("tasks",)) == SCENARIOS[:4]  # the metric's own come first
    assert results.clusters("other gap", within=("tasks",)) == ["a", "a", "b", "c"]
    found = results.interval(Run("one"), "gap", within=("tasks",))
    assert found == mean_over_seeds(2 * DRAWS[0][:, :4], SCENARIOS[:4])
