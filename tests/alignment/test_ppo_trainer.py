"""The trainer: it learns, names what goes wrong, and a killed run ends where an uninterrupted one does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.alignment.online_trainer import checked_scores
from helpers.alignment.policy import Policy
from helpers.alignment.ppo_trainer import (
    METRICS,
    PPOConfig,
    PPOTrainer,
    make_experience,
    update,
)
from helpers.alignment.training_loop import AlignmentError
from tests.alignment.ppo_cases import Brevity, tiny_trainer

ROOT = Path(__file__).resolve().parents[2]


def weights(trainer):
    return {name: weight.detach().clone() for name, weight in trainer.policy.trained().items()}


@pytest.mark.usefixtures("hears_all")
def test_the_score_rises_and_every_metric_is_there(tiny_model, tiny_tokenizer):
    seen = []
    result = tiny_trainer(tiny_model, tiny_tokenizer, kl_coef=0.01).run(
        40, lambda history: seen.append(len(history)), show_progress=False
    )
    first, last = (np.mean([step["score"] for step in part]) for part in (result.history[:8], result.history[-8:]))
    assert last > first + 1 and seen == list(range(1, 41)) and not result.stopped
    assert all(set(step) == set(METRICS) and all(np.isfinite(list(step.values()))) for step in result.history)
    assert abs(result.history[0]["kl"]) < 1e-3 < result.history[-1]["kl"]


def test_a_larger_kl_coefficient_keeps_the_policy_closer(tiny_model, tiny_tokenizer):
    free, held = (
        tiny_trainer(tiny_model, tiny_tokenizer, kl_coef=coef, learning_rate=2e-3).run(30, show_progress=False).history
        for coef in (0.0, 2.0)
    )
    assert np.mean([step["kl"] for step in held[-8:]]) < np.mean([step["kl"] for step in free[-8:]])


@pytest.mark.usefixtures("hears_all")
def test_the_learning_rate_is_annealed_step_by_step(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer, learning_rate=0.01, value_learning_rate=0.1, anneal_steps=4)
    rates = []
    trainer.run(
        5, lambda _: rates.append([group["lr"] for group in trainer.optimizer.param_groups]), show_progress=False
    )
    assert np.allclose(rates, [(0.01, 0.1), (0.0075, 0.075), (0.005, 0.05), (0.0025, 0.025), (0, 0)])


def test_the_value_head_learns_at_its_own_rate_and_the_rest_at_the_policys(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer, learning_rate=1e-4, value_learning_rate=1e-2)
    before = weights(trainer)
    trainer.step()
    moved = {name: (weight - before[name]).abs().max().item() for name, weight in weights(trainer).items()}
    head = [change for name, change in moved.items() if name.startswith("value_head.")]
    rest = [change for name, change in moved.items() if not name.startswith("value_head.")]
    assert len(head) == 2 and min(head) > 5e-3 and 0 < max(rest) < 5e-3


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tiny_model, tiny_tokenizer):
    one, same, other = (tiny_trainer(tiny_model, tiny_tokenizer, seed=seed) for seed in (3, 3, 4))
    for trainer in (one, same, other):
        trainer.run(3, show_progress=False)
    assert all(torch.equal(weight, weights(same)[name]) for name, weight in weights(one).items())
    assert any(not torch.equal(weight, weights(other)[name]) for name, weight in weights(one).items())


def test_a_killed_run_ends_at_the_weights_of_an_uninterrupted_one(tiny_model, tiny_tokenizer, tmp_path, caplog):
    from transformers import AutoModelForSeq2SeqLM

    tiny_model.save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    base = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
    whole = tiny_trainer(base, tiny_tokenizer, anneal_steps=10)
    whole.run(8, show_progress=False)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.alignment.ppo_cases", tmp_path / "base", tmp_path / "runs", "7"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        encoding="utf-8",
    )
    assert killed.returncode in (-9, 9), killed.stderr
    newest = next((tmp_path / "runs").glob("*/checkpoint-6"))
    with (newest / "state.safetensors").open("r+b") as file:
        file.truncate(100)
    resumed = tiny_trainer(base, tiny_tokenizer, tmp_path / "runs", anneal_steps=10)
    result = resumed.run(8, save_every=2, show_progress=False)
    assert "checkpoint-6 is skipped and deleted: state.safetensors has 100 of" in caplog.text
    assert all(torch.equal(weight, weights(whole)[name]) for name, weight in weights(resumed).items())
    assert result.history == whole.history and len(list(newest.parent.glob("checkpoint-*"))) == 2
    loaded = tiny_trainer(base, tiny_tokenizer, tmp_path / "runs", anneal_steps=10)
    assert loaded.run(8, show_progress=False).history == whole.history
    other = tiny_trainer(base, tiny_tokenizer, tmp_path / "runs", anneal_steps=10, learning_rate=1e-3)
    assert other.folder != loaded.folder


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (lambda texts: np.zeros((len(texts), 2)), r"reward: gave the shape \(2, 2\) for 2 completions"),
        (lambda texts: [1.0], r"the shape \(1,\) for 2 completions"),
        (lambda texts: [0.5, float("nan")], "gave nan for the completion 'second'"),
        (lambda texts: [float("inf"), 0.0], "gave inf for the completion 'first'"),
    ],
)
def test_rewards_that_are_no_rewards_are_named(given, named):
    with pytest.raises(AlignmentError, match=named):
        checked_scores(given, ["one", "two"], ["first", "second"])


def test_equal_rewards_teach_nothing_but_the_distance_to_the_reference(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(
        tiny_model, tiny_tokenizer, reward=lambda texts: [1.0] * len(texts), kl_coef=0.0, gamma=1.0, lam=1.0
    )
    history = trainer.run(2, show_progress=False).history
    assert all(np.isfinite(list(step.values())).all() for step in history) and history[0][
        "policy_loss"
    ] == pytest.approx(0, abs=1e-3)


def test_a_batch_of_completions_that_are_only_end_tokens_goes_through(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer)
    experience, _ = trainer.experience(trainer.draw())
    shortest = experience.rollout.rows(torch.arange(6))
    ends = torch.full((6, 2), tiny_tokenizer.eos_token_id)
    ends[:, 0] = 0
    one = torch.ones(6, 1, dtype=torch.bool)
    rollout = type(shortest)(
        shortest.prompt_ids, shortest.prompt_mask, ends, one, shortest.logprobs[:, :1], shortest.values[:, :1]
    )
    for config in (trainer.config, PPOConfig(**vars(trainer.config) | {"skip_first_token": True})):
        made = make_experience(rollout, trainer.policy.reference_logprobs(rollout), torch.arange(6.0), config, 0.1)
        assert np.isfinite(
            list(update(trainer.policy, trainer.optimizer, made, config, [torch.arange(6)]).values())
        ).all()


def test_a_lost_loss_names_the_rate(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer)
    experience, _ = trainer.experience(trainer.draw())
    with torch.no_grad():
        trainer.policy.value_head.weight.fill_(float("nan"))
    with pytest.raises(AlignmentError, match="loss: nan.*learning rate, now 0.005"):
        update(trainer.policy, trainer.optimizer, experience, trainer.config, [torch.arange(6)])


def test_the_kl_ends_passes_and_runs(tiny_model, tiny_tokenizer):
    few = tiny_trainer(tiny_model, tiny_tokenizer, epochs=4, max_update_kl=1e-9).run(1, show_progress=False)
    assert few.history[0]["epochs"] == 1
    ended = tiny_trainer(tiny_model, tiny_tokenizer, learning_rate=2e-2, kl_coef=0.0, max_kl=0.5).run(
        40, show_progress=False
    )
    assert len(ended.history) < 40 and "above max_kl, 0.5" in ended.stopped


def test_an_adaptive_coefficient_moves_and_a_fixed_one_does_not(tiny_model, tiny_tokenizer):
    adaptive, fixed = (
        tiny_trainer(tiny_model, tiny_tokenizer, kl_target=target).run(3, show_progress=False).history
        for target in (5.0, None)
    )
    assert adaptive[2]["kl_coef"] < adaptive[0]["kl_coef"] and {step["kl_coef"] for step in fixed} == {
        fixed[0]["kl_coef"]
    }


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"mini_batch_size": 256}, "mini_batch_size: 256 is more than the batch_size, 128"),
        ({"kl_coef": -1}, "kl_coef: -1"),
        ({"learning_rate": 0}, "learning_rate: 0"),
        ({"max_grad_norm": 0}, "max_grad_norm: 0"),
        ({"lam": 1.5}, "lam: 1.5"),
        ({"cliprange": None}, "cliprange: None"),
    ],
)
def test_settings_that_make_no_sense_are_named(changed, named):
    with pytest.raises(ValueError, match=named):
        PPOConfig(**changed)


def test_a_batch_may_have_more_completions_than_there_are_prompts(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer, batch_size=8)
    drawn = trainer.draw()
    assert len(drawn) == 8 and len(set(drawn)) == 6 and len(set(drawn[:6])) == 6
    assert len(trainer.run(1, show_progress=False).history) == 1


def test_no_prompts_are_named(tiny_model, tiny_tokenizer):
    with pytest.raises(AlignmentError, match="prompts: there are none"):
        PPOTrainer(Policy.from_supervised(tiny_model), tiny_tokenizer, Brevity(), [], PPOConfig(), seed=0)


def test_prompts_come_once_each_before_any_comes_again(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer, batch_size=3, mini_batch_size=3, reward=Brevity())
    drawn = [prompt for _ in range(4) for prompt in trainer.draw()]
    assert len(set(drawn[:6])) == 6 and sorted(drawn[:6]) == sorted(drawn[6:])


def test_an_entropy_bonus_keeps_the_policy_undecided(tiny_model, tiny_tokenizer):
    plain, bonus = (
        tiny_trainer(tiny_model, tiny_tokenizer, entropy_coef=coef).run(20, show_progress=False).history
        for coef in (0.0, 1.0)
    )
    assert np.mean([step["entropy"] for step in bonus[-5:]]) > np.mean([step["entropy"] for step in plain[-5:]]) + 0.3
