"""The sweep of the GPT from scratch: every point is kept, is what its name says, and comes again."""

import numpy as np
import pytest

from helpers.transformer.gpt import RATE
from helpers.transformer.mixture_of_experts import BALANCE, CHOSEN, EXPERTS, expert_counts, expert_shares
from sweeps import SEEDS, load_results, run_sweep
from sweeps.gpt import (
    BALANCED,
    BUDGET,
    COMMAND,
    DENSE,
    FOLDER,
    RATES,
    SHAPE,
    TEST,
    UNBALANCED,
    Bench,
    Point,
    held_out,
    new_model,
    points,
    routing_of,
    sweeps,
)

TOLERANCE = 0.05  # of the mean loss: other processors round otherwise, and a training amplifies it


@pytest.fixture(scope="module")
def results():
    return load_results(FOLDER, COMMAND)


def test_what_is_kept_is_complete(results):
    assert set(results) == {"base", *(point.name for point in points())}
    for point in points():
        found = results[point.name]
        assert Point(**found["point"]) == point and len(found["loss"]) == TEST and len(found["losses"]) == 20
        assert found["losses"][-1] < found["losses"][0] - 2 and found["written"]
        assert ("shares" in found) == point.experts, point.name


def test_models_are_of_equal_computing_and_unequal_size(results):
    router = SHAPE.layers * SHAPE.width * EXPERTS
    dense, experts = results[DENSE.name], results[BALANCED.name]
    assert dense["parameters"] == dense["used"] == experts["used"] - router
    assert experts["parameters"] > 2 * dense["used"]
    for point in (DENSE, BALANCED):
        assert sum(weight.numel() for weight in new_model(point).parameters()) == results[point.name]["parameters"]


def test_each_model_has_the_rate_of_the_lowest_validation_loss_of_the_first_seed(results):
    for model in (DENSE, BALANCED):
        tried = {rate: results[Point(model.experts, model.balance, rate).name]["validation"] for rate in RATES}
        assert min(tried, key=tried.get) == RATE


def test_every_model_has_every_seed():
    assert {(point.experts, point.balance, point.seed) for point in sweeps()["models"]} == {
        (experts, balance, seed) for experts, balance in ((False, 0), (True, 0), (True, BALANCE)) for seed in SEEDS
    }
    assert len({point.name for point in points()}) == len(points())
    assert (DENSE.experts, BALANCED.balance, UNBALANCED.balance) == (False, BALANCE, 0)


def test_the_held_out_dialogues_are_those_it_was_measured_on(results):
    texts, clusters = held_out(TEST, "test")
    base = results["base"]
    assert base["clusters"] == clusters and base["bytes"] == sum(len(text.encode()) for text in texts)
    assert base["budget"] == BUDGET and len(set(clusters)) > 5
    assert not set(texts) & set(held_out(24, "validation")[0])


def test_a_run_leaves_all_that_the_lab_reads(tmp_path):
    bench = Bench(25 * 1024)
    bench.validation, bench.test, bench.clusters = bench.validation[:2], bench.test[:4], bench.clusters[:4]
    run_sweep([BALANCED], bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)[BALANCED.name]
    assert len(found["loss"]) == len(found["busiest"]) == 4 and np.shape(found["shares"]) == (SHAPE.layers, EXPERTS)
    assert np.sum(found["shares"], -1) == pytest.approx(CHOSEN, abs=1e-3)


def test_the_busiest_expert_is_that_of_all_texts_together():
    model, (texts, _) = new_model(BALANCED), held_out(3, "test")
    shares = expert_shares(expert_counts(model, texts))  # (N, L, E)
    whole = routing_of(model, ["".join(texts)])["shares"]
    busiest = np.argmax(routing_of(model, texts)["shares"], -1)
    by_hand = [np.mean([shares[n, layer, busiest[layer]] for layer in range(SHAPE.layers)]) for n in range(3)]
    assert routing_of(model, texts)["busiest"] == pytest.approx(by_hand, abs=1e-3)
    assert np.shape(whole) == (SHAPE.layers, EXPERTS)


@pytest.mark.full
def test_a_point_measured_again_gives_what_is_kept(results):
    again, kept = (np.mean(found["loss"]) for found in (Bench().measure(DENSE, None), results[DENSE.name]))
    assert again == pytest.approx(kept, rel=TOLERANCE)
