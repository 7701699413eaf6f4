"""The sweep of scaling: every point is kept, is what its name says, and comes again."""

import numpy as np
import pytest

from helpers.transformer.language_models import Shape
from sweeps import Results, load_results, run_sweep
from sweeps.scaling import (
    BUDGETS,
    COMMAND,
    DOMAIN,
    FAR,
    FOLDER,
    HELD_OUT,
    MIXED,
    SEEDS,
    SHAPES,
    SPECIALIST,
    Bench,
    Point,
    domain_losses,
    held_out,
    points,
    runs_of,
    sweeps,
    training_texts,
)


@pytest.fixture(scope="module")
def results():
    return load_results(FOLDER, COMMAND)


def test_what_is_kept_is_complete(results):
    assert set(results) == {"base", *(point.name for point in points())} and len(
        {point.name for point in points()}
    ) == len(points())
    for point in points():
        found = results[point.name]
        assert (
            found["parameters"] == point.shape.parameters
            and found["point"]["budget"] == point.budget
            and found["point"]["seed"] == point.seed
        ), point.name
        assert {len(values) for values in found["loss"].values()} == {HELD_OUT} and set(found["loss"]) == {
            "all",
            "inside",
            "outside",
        }, point.name


def test_the_held_out_dialogues_are_those_it_was_measured_on(results):
    found = held_out()
    assert results["base"]["bytes"] == {
        part: sum(len(text.encode()) for text in texts) for part, texts in found.items()
    }
    assert len({text for texts in found.values() for text in texts}) == 3 * HELD_OUT


def test_a_point_measured_again_gives_what_is_kept(results, tmp_path):
    point = sweeps()["grid"][0]
    run_sweep([point], Bench(), tmp_path / "results", tmp_path / "work")
    again, kept = (
        np.mean(found[point.name]["loss"]["all"]) for found in (load_results(tmp_path / "results", COMMAND), results)
    )
    assert (point.shape, point.budget) == (SHAPES[0], BUDGETS[0])
    assert again == pytest.approx(kept, rel=0.02)  # other processors round otherwise, and a training amplifies it


def test_a_mixed_training_reads_both_kinds_in_turn():
    both, inside, everywhere = (
        [text for text, _ in zip(training_texts(domain, 1), range(20))] for domain in (MIXED, DOMAIN, "all")
    )
    assert both[::2] == inside[:10] and both[1::2] == everywhere[:10]


def test_each_size_has_written_something_after_the_longest_budget(results):
    samples = [results[Point(shape, BUDGETS[-1]).name]["sample"] for shape in SHAPES]
    assert all(len(sample) > 100 for sample in samples) and len(set(samples)) == len(SHAPES)


def test_what_is_predicted_was_not_fitted():
    grid = sweeps()["grid"]
    assert Point(*FAR) not in grid and Point(Shape(32, 3), 3 * BUDGETS[1], seed=3) not in points()


def test_columns_and_losses_of_each_seed():
    one, other = Point(Shape(16, 1), 1024), Point(Shape(32, 1), 2048)
    results = Results(
        {point.name: {"parameters": point.shape.parameters, "loss": {"all": [1.0, 3.0]}} for point in (one, other)},
        COMMAND,
    )
    runs = runs_of(results, [one, other])
    assert runs.losses.tolist() == [2.0, 2.0] and runs.budgets.tolist() == [1024, 2048]
    assert (runs.parameters - runs_of(results, [one, other], embeddings=False).parameters).tolist() == [
        256 * 16,
        256 * 32,
    ]
    seeds = Results(
        {Point(SPECIALIST, 2**19, DOMAIN, seed).name: {"loss": {"inside": [seed, 1.0]}} for seed in SEEDS}, COMMAND
    )
    assert domain_losses(seeds, SPECIALIST, DOMAIN, "inside").tolist() == [[seed, 1.0] for seed in SEEDS]
    with pytest.raises(KeyError, match="make it with: python -m sweeps.scaling"):
        domain_losses(seeds, SPECIALIST, "all", "inside")
