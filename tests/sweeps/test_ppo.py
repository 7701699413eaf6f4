"""The sweep of PPO: on a tiny model from end to end, and what is kept of the real one."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from helpers.alignment.ppo_trainer import PPOConfig
from helpers.alignment.reward_model import judged_toxicity, load_reward
from helpers.settings import load_settings
from sweeps import Results, load_results, over_seeds, run_sweep
from sweeps.ppo import COMMAND, DRAWS, FOLDER, KL_COEFS, Bench, Point, points
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings

OLDER = pytest.mark.xfail(strict=True, reason="what is kept was measured with the model of the first generation")


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
    return Bench(tiny_settings(folder, tiny_model, tiny_tokenizer, splits, train_steps=1, ppo_steps=2), folder / "work")


def test_points_have_names_of_their_own_and_three_seeds():
    names = [point.name for point in points()]
    assert (
        len(set(names)) == len(names) == 3 * len(KL_COEFS)
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
    for kind in ("rude", "polite"):
        assert (
            np.shape(measured[kind]["judged"]) == np.shape(measured[kind]["completions"]) == (DRAWS, 3)
            and len(found["base"]["ids"][kind]) == 3
        )
        assert np.abs(found["base"][kind]["kl"]).max() < 1e-3
    assert set(found["base"]["ids"]["rude"]) == {"test-0", "test-2", "test-4"}


def test_seeds_are_averaged_for_each_dialogue():
    results = Results(
        {Point(0.5, seed).name: {"rude": {"judged": [[0.1 * seed, 0.0], [0.3 * seed, 0.6]]}} for seed in (1, 2, 3)},
        COMMAND,
    )
    assert over_seeds(results, Point(0.5), "judged", within=("rude",)).tolist() == pytest.approx([0.4, 0.3])
    with pytest.raises(KeyError, match=r"kl0-s1.json is not among the results; make it with: python -m sweeps.ppo"):
        over_seeds(results, Point(0.0), "judged", within=("rude",))


def test_the_kept_results_are_complete_and_of_these_settings():
    results, settings = load_results(FOLDER, COMMAND), load_settings("pocket")
    assert set(results) == {"base", *(point.name for point in points())}
    for point in points():
        found = results[point.name]
        config = PPOConfig(
            kl_coef=point.kl_coef, anneal_steps=settings.ppo_steps, max_new_tokens=settings.max_new_tokens
        )
        assert found["config"] == vars(config) and len(found["history"]) == settings.ppo_steps, point.name
        for kind in ("rude", "polite"):
            assert np.shape(found[kind]["judged"]) == (DRAWS, len(results["base"]["ids"][kind])), point.name


@OLDER
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
