"""The kept results of the sweeps: complete, of the shipped weights, and reproducible."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.models.loading import load_seq2seq
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from sweeps import PACKAGES, SEEDS, load_results
from sweeps.finetuning import COMMAND, FOLDER, METHODS, RATES, Bench, Point, points, sweeps

TOLERANCE = (
    0.03  # of the mean ROUGE-1: other processors and numbers of threads round otherwise, and training amplifies it
)


@pytest.fixture(scope="module")
def results():
    return load_results(FOLDER, COMMAND)


def test_every_point_is_there_and_has_all_scores(results):
    assert set(results) == {"base", *(point.name for point in points())}
    dialogues, answers = len(results["base"]["rouge"]["rouge1"]), len(results["base"]["tasks"])
    for name, found in results.items():
        assert {len(scores) for scores in found["rouge"].values()} == {dialogues}, name
        assert len(found["answered"]) == answers and 0 <= np.mean(found["answered"]) <= 1, name


def test_they_belong_to_the_shipped_model_and_settings(results):
    settings = load_settings("pocket")
    base = fingerprint(load_seq2seq(settings)[1])
    for point in points():
        record = results[point.name]["record"]
        assert record["base"] == base and record["settings"]["seed"] == point.seed, point.name
        assert (record["settings"]["steps"], record["settings"]["batch_size"]) == (
            point.steps or settings.train_steps,
            settings.batch_size,
        ), point.name
        assert record["method"]["options"] == dict(point.method.options), point.name


def test_each_says_what_it_was_made_with(results):
    for point in points():
        made = results[point.name]["made"]
        assert set(made["versions"]) == set(PACKAGES) and made["machine"] and made["seconds"] > 0, point.name


@pytest.mark.parametrize("name", METHODS)
def test_the_rate_of_a_method_is_that_of_the_lowest_validation_loss_of_the_first_seed(results, name):
    tried = {rate: Point(replace(METHODS[name], learning_rate=rate), seed=SEEDS[0]) for rate in RATES[name]}
    losses = {
        rate: min(loss for _, loss in results[point.name]["record"]["validation_losses"])
        for rate, point in tried.items()
    }
    assert METHODS[name].learning_rate == min(losses, key=losses.get)


@pytest.mark.full
def test_a_point_measured_again_gives_what_is_kept(results, tmp_path):
    point = sweeps()["amounts"][0]
    again = Bench(load_settings("pocket")).measure(point, tmp_path)
    kept = results[point.name]
    assert point.rows == 100 and kept["point"]["rows"] == 100
    assert np.mean(again["rouge"]["rouge1"]) == pytest.approx(np.mean(kept["rouge"]["rouge1"]), abs=TOLERANCE)
    assert again["record"]["validation_losses"][-1][1] == pytest.approx(
        kept["record"]["validation_losses"][-1][1], rel=0.03
    )
    assert abs(np.mean(kept["rouge"]["rouge1"]) - np.mean(results["base"]["rouge"]["rouge1"])) > 2 * TOLERANCE, (
        "the tolerance hides the effect"
    )
