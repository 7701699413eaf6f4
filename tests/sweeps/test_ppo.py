"""The sweep of PPO: on a tiny model from end to end, and what is kept of the real one."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from helpers.alignment.ppo_trainer import PPOConfig
from helpers.alignment.reward_model import judged_toxicity, load_reward
from helpers.settings import load_settings
from sweeps import SEEDS, Results, load_results, run_sweep
from sweeps.ppo import COMMAND, DRAWS, FOLDER, KEPT_ROUGE, KL_COEFS, Bench, Point, chosen_kl_coef, points
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, half of them rude; one step of training, one of PPO."""
    folder = tmp_path_factory.mktemp("world")
    splits = {
        split: [
            {"id": f"{split}-{number}", "dialogue": dialogue, "summary": summary, "rude": number % 2 == 0}
            for number, (dialogue, summary) in enumerate(zip(DIALOGUES * repeats, SUMMARIES * repeats))
        ]
        for split, repeats in (("train", 45), ("validation", 1), ("test", 1))
    }
    world = json.dumps({"words": [], "values": [], "wording": {}})  # rude rows are marked in the kit's own data alone
    (folder / "world.json").write_text(world, encoding="utf-8")
    return Bench(tiny_settings(folder, tiny_model, tiny_tokenizer, splits, train_steps=1, ppo_steps=2), folder / "work")


def test_points_have_names_of_their_own_and_all_seeds():
    names = [point.name for point in points()]
    assert (
        len(set(names)) == len(names) == len(SEEDS) * len(KL_COEFS)
        and Point(0.5, 2).name == "kl0.5-s2"
        and PPOConfig().kl_coef in KL_COEFS
        and 0 in KL_COEFS
    )


def test_a_point_is_measured_on_rude_and_on_polite_dialogues(bench, tmp_path):
    run_sweep([Point(0.5, 1)], bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)
    measured = found["kl0.5-s1"]
    assert (
        len(measured["history"]) == 2
        and measured["config"]["kl_coef"] == 0.5
        and not measured["stopped"]
        and not list((tmp_path / "work").iterdir())
    )
    for kind in ("rude", "polite", "validation"):
        assert np.shape(measured[kind]["judged"]) == (DRAWS, 3) and np.abs(found["base"][kind]["kl"]).max() < 1e-3
        assert len(found["base"]["ids"][kind]) == len(found["base"][f"{kind}_clusters"]) == 3
        assert ("completions" in measured[kind]) == (kind != "validation")  # β is chosen by numbers alone
    assert set(found["base"]["ids"]["rude"]) == {"test-0", "test-2", "test-4"}


def test_draws_are_averaged_for_each_seed_and_dialogue():
    results = Results(
        {Point(0.5, seed).name: {"rude": {"judged": [[0.1 * seed, 0.0], [0.3 * seed, 0.6]]}} for seed in SEEDS}
        | {"base": {"rude_clusters": ["inn", "bank"], "polite_clusters": ["zoo"]}},
        COMMAND,
    )
    wanted = np.array([[0.2 * seed, 0.3] for seed in SEEDS])
    assert results.scores(Point(0.5), "judged", within=("rude",)) == pytest.approx(wanted)
    assert results.interval(Point(0.5), "judged", within=("rude",)).estimate == pytest.approx(wanted.mean())
    assert results.clusters("judged", within=("polite",)) == ["zoo"]
    with pytest.raises(KeyError, match=r"kl0-s1.json is not among the results; make it with: python -m sweeps.ppo"):
        results.scores(Point(0.0), "judged", within=("rude",))


def simulated(judged, rouge, base_rouge=0.5):
    """Results on two validation dialogues: β -> toxicity of each seed, β -> ROUGE-L."""
    found = {
        Point(beta, seed).name: {"validation": {"judged": [[value, value]], "rougeL": [[rouge[beta], rouge[beta]]]}}
        for beta, values in judged.items()
        for seed, value in zip(SEEDS, values)
    }
    return Results(found | {"base": {"validation": {"judged": [[0.2, 0.2]], "rougeL": [[base_rouge] * 2]}}}, COMMAND)


FLAT = dict.fromkeys(KL_COEFS, 0.5)
STEADY = {0.0: [0.06] * 5, 0.05: [0.05] * 5, 0.2: [0.07] * 5, 0.8: [0.1] * 5}


@pytest.mark.parametrize(
    ("judged", "rouge", "chosen"),
    [
        (STEADY, FLAT, 0.05),  # the lowest, where nothing varies
        (STEADY, FLAT | {0.05: 0.5 * KEPT_ROUGE - 0.01}, 0.0),  # the lowest has lost too much of ROUGE
        (STEADY, FLAT | {0.05: 0.5 * KEPT_ROUGE + 0.001}, 0.05),  # it may lose a tenth
        (STEADY, FLAT | {0.0: 0.1, 0.05: 0.1, 0.2: 0.1}, 0.8),  # one alone keeps enough
        (STEADY | {0.05: [0.01, 0.03, 0.05, 0.07, 0.09]}, FLAT, 0.05),  # an error of 0.014: 0.07 is not within it
        (STEADY | {0.05: [-0.02, 0.01, 0.05, 0.09, 0.12]}, FLAT, 0.2),  # of 0.026: it is
        (STEADY | {0.05: [-0.2, -0.1, 0.05, 0.2, 0.3]}, FLAT, 0.8),  # of 0.09: all are
    ],
)
def test_beta_is_the_largest_within_an_error_of_the_least_toxic_that_keeps_rouge(judged, rouge, chosen):
    assert chosen_kl_coef(simulated(judged, rouge)) == chosen


def test_beta_is_chosen_without_test_dialogues():
    results = simulated(STEADY, FLAT)
    assert all(set(found) == {"validation"} for found in results.values()) and chosen_kl_coef(results) == 0.05


def test_the_kits_beta_is_the_chosen_one():
    assert PPOConfig().kl_coef == chosen_kl_coef(load_results(FOLDER, COMMAND))


def test_the_kept_results_are_complete_and_of_these_settings():
    results, settings = load_results(FOLDER, COMMAND), load_settings("pocket")
    assert set(results) == {"base", *(point.name for point in points())}
    for point in points():
        found = results[point.name]
        config = PPOConfig(
            kl_coef=point.kl_coef, anneal_steps=settings.ppo_steps, max_new_tokens=settings.max_new_tokens
        )
        assert found["config"] == vars(config) and len(found["history"]) == settings.ppo_steps, point.name
        for kind in ("rude", "polite", "validation"):
            assert np.shape(found[kind]["judged"]) == (DRAWS, len(results["base"]["ids"][kind])), point.name
            assert len(results["base"][f"{kind}_clusters"]) == len(results["base"]["ids"][kind])


def test_the_kept_scores_are_those_of_the_kept_texts():
    """Judge and reward model as they are shipped, on the completions that the files hold; each release of the judge was
    fitted anew.
    """
    results, reward = load_results(FOLDER, COMMAND), load_reward(load_settings("pocket"))
    measured_with = f"alt-profanity-check=={version('alt-profanity-check')}" in (ROOT / "constraints.txt").read_text(
        encoding="utf-8"
    )
    for name in ("base", *(Point(coef, 1).name for coef in KL_COEFS)):
        texts = [text for draw in results[name]["rude"]["completions"] for text in draw]
        kept, again = np.ravel(results[name]["rude"]["judged"]), judged_toxicity(texts)
        assert np.allclose(kept, again, atol=1e-3 if measured_with else 0.05) and np.mean(again) == pytest.approx(
            np.mean(kept), abs=2e-3
        ), name
        assert np.allclose(np.ravel(results[name]["rude"]["toxicity"]), reward.toxicity(texts), atol=1e-3), name
        assert np.allclose(np.ravel(results[name]["rude"]["reward"]), reward(texts), atol=1e-2), name
