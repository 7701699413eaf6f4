"""The sweep of the ways to learn from preferences: end to end on a tiny model, and what is kept of the real one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.alignment.dpo_trainer import DPOConfig
from helpers.alignment.group_trainers import GRPOConfig, RLOOConfig
from helpers.alignment.reward_model import judged_toxicity, load_reward
from helpers.evaluation.metrics import repeated_per_text
from helpers.settings import load_settings
from sweeps import load_results, preference_optimization as sweep, run_sweep
from sweeps.preference_optimization import COMMAND, DRAWS, MANY_DRAWS, Bench, Point
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, half of them rude; one step of training."""
    folder = tmp_path_factory.mktemp("world")
    splits = {
        split: [
            {
                "id": f"{split}-{n}",
                "dialogue": dialogue,
                "summary": summary,
                "rude": n % 2 == 0,
                "neutral": "They talk.",
            }
            for n, (dialogue, summary) in enumerate(zip(DIALOGUES * repeats, SUMMARIES * repeats))
        ]
        for split, repeats in (("train", 45), ("validation", 1), ("test", 1))
    }
    world = json.dumps({"words": [], "values": [], "wording": {}})  # rude rows are marked in the kit's own data alone
    (folder / "world.json").write_text(world, encoding="utf-8")
    return Bench(tiny_settings(folder, tiny_model, tiny_tokenizer, splits, train_steps=1), folder / "work")


@pytest.fixture
def small(monkeypatch):
    """Three batches of four completions, in groups of two."""
    for name, value in (("BATCHES", 3), ("BATCH", 4), ("GROUP", 2), ("UPDATES", 3), ("ROWS", 2)):
        monkeypatch.setattr(sweep, name, value)


def test_points_have_names_of_their_own_and_all_seeds():
    points = sweep.sweeps()
    names = [point.name for part in points.values() for point in part]
    assert len(set(names)) == len({point for part in points.values() for point in part})
    assert {point.seed for point in points["methods"]} == set(sweep.SEEDS) and "dpo-kl0.5-s1" in names
    assert {point.seed for point in points["rates"]} == {1}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("point", [Point(method, 0.1) for method in sweep.KL_COEFS], ids=lambda point: point.name)
def test_a_point_is_measured_on_its_way_and_at_its_end(point, bench, tmp_path):
    run_sweep([point], bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)
    measured = found[point.name]
    judged = [12] * 3 if point.method == "dpo" else [4, 8, 12]
    assert [each["completions"] for each in measured["way"]] == judged
    assert all(len(each["judged"]) == 3 for each in measured["way"]) and len(measured["history"]) == 3
    seconds = [each["seconds"] for each in measured["way"]]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    for kind in ("rude", "validation"):
        for name in (*sweep.NUMBERS, "named", "supported", "broken", "repeated"):
            assert np.shape(measured[kind][name]) == (DRAWS[kind], 3), name
            assert np.shape(found["base"][kind][name]) == (MANY_DRAWS[kind], 3), name
    assert len(measured["rude"]["texts"]) == 3 and "texts" not in measured["validation"]


@pytest.mark.usefixtures("small")
def test_neutral_summaries_are_a_point_too(bench, tmp_path):
    run_sweep([sweep.NEUTRAL], bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)["neutral-s1"]["rude"]
    assert np.shape(found["judged"]) == (DRAWS["rude"], 3) and "kl" not in found


@pytest.mark.usefixtures("small")
def test_pairs_are_ordered_by_who_is_asked(bench, monkeypatch):
    settings = replace(bench.settings, seed=1)
    monkeypatch.setattr(bench, "reward", lambda texts: __import__("torch").tensor([-float(len(t)) for t in texts]))
    pairs, seconds = bench.pairs(Point("dpo", 0.1), settings)
    assert pairs and seconds > 0 and all(len(better) <= len(worse) for _, better, worse in pairs)
    assert all(prompt.startswith("Summarize") for prompt, *_ in pairs)
    panel, _ = bench.pairs(Point("dpo", 0.1, pairs="panel"), settings)
    assert {prompt for prompt, *_ in panel} <= {prompt for prompt, *_ in pairs} | {prompt for prompt, *_ in panel}


def test_the_kept_results_are_complete_and_of_these_settings():
    results = load_results(sweep.FOLDER, COMMAND, sweep.SEEDS)
    points = [point for part in sweep.sweeps().values() for point in part]
    assert set(results) == {"base", *(point.name for point in points)}
    for point in points:
        found = results[point.name]
        for kind in ("rude", "validation"):
            assert np.shape(found[kind]["judged"]) == (DRAWS[kind], len(results["base"]["ids"][kind])), point.name
        if point.method in sweep.KL_COEFS:
            assert found["config"]["kl_coef"] == point.kl_coef, point.name
            assert found["config"]["learning_rate"] == pytest.approx(point.factor * sweep.RATE[point.method])


def test_the_rates_are_chosen_on_validation_dialogues():
    results = load_results(sweep.FOLDER, COMMAND, sweep.SEEDS)
    for method, factor in sweep.chosen_factors(results).items():
        assert factor == 1, f"{method}: validation prefers {factor} times the rate"


def test_the_kits_betas_are_the_chosen_ones():
    chosen = sweep.chosen_kl_coefs(load_results(sweep.FOLDER, COMMAND, sweep.SEEDS))
    assert DPOConfig().kl_coef == chosen["dpo"]
    assert GRPOConfig().kl_coef == chosen["grpo"] and RLOOConfig().kl_coef == chosen["rloo"]


def test_the_kept_scores_are_those_of_the_kept_texts():
    """Judge and reward model as they are shipped, on the first draw's texts; each release of the judge was fitted
    anew, so that another one may differ a little.
    """
    results, reward = load_results(sweep.FOLDER, COMMAND, sweep.SEEDS), load_reward(load_settings("pocket"))
    for name in ("base", "grpo-kl0.05-s2", "dpo-kl0.1-s3", "neutral-s1"):
        kept, texts = results[name]["rude"], results[name]["rude"]["texts"]
        assert np.allclose(kept["judged"][0], judged_toxicity(texts), atol=0.05), name
        assert np.allclose(kept["reward"][0], reward(texts), atol=1e-2), name
        assert np.allclose(kept["repeated"][0], repeated_per_text(texts), atol=1e-3), name
