"""GRPO and RLOO: they learn, draw whole groups, report what groups can teach, and name settings that make no sense."""

import numpy as np
import pytest
import torch

from helpers.alignment.group_trainers import METRICS, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from helpers.alignment.policy import Policy
from helpers.alignment.training_loop import AlignmentError
from helpers.training.finetuning_methods import ATTENTION, lora
from tests.alignment.ppo_cases import CONFIG, Brevity
from tests.conftest import DIALOGUES

METHODS = [(GRPOTrainer, GRPOConfig), (RLOOTrainer, RLOOConfig)]


def tiny_trainer(method, model, tokenizer, folder=None, reward=None, seed=3, **changed):
    kind, config = method
    policy = Policy.from_supervised(model, lora(4, ATTENTION, alpha=8), seed=1)
    options = CONFIG | {"group_size": 3} | changed
    return kind(policy, tokenizer, reward or Brevity(), DIALOGUES, config(**options), seed, folder)


@pytest.mark.parametrize("method", METHODS, ids=("grpo", "rloo"))
def test_the_score_rises_and_every_metric_is_there(method, tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(method, tiny_model, tiny_tokenizer, kl_coef=0.01, batch_size=12, mini_batch_size=6)
    head = trainer.policy.value_head.weight.detach().clone()
    history = trainer.run(40, show_progress=False).history
    first, last = (np.mean([step["score"] for step in part]) for part in (history[:8], history[-8:]))
    assert last > first + 1
    assert all(set(step) == set(METRICS) and np.isfinite(list(step.values())).all() for step in history)
    assert torch.equal(trainer.policy.value_head.weight, head), "there is no value head to train"


@pytest.mark.parametrize("method", METHODS, ids=("grpo", "rloo"))
def test_a_larger_kl_coefficient_keeps_the_policy_closer(method, tiny_model, tiny_tokenizer):
    free, held = (
        tiny_trainer(method, tiny_model, tiny_tokenizer, kl_coef=coef).run(30, show_progress=False).history
        for coef in (0.0, 3.0)
    )
    assert np.mean([step["kl"] for step in held[-8:]]) < np.mean([step["kl"] for step in free[-8:]])


@pytest.mark.parametrize("method", METHODS, ids=("grpo", "rloo"))
def test_a_batch_holds_whole_groups_and_goes_round_all_prompts(method, tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(method, tiny_model, tiny_tokenizer)
    drawn = [prompt for _ in range(3) for prompt in trainer.draw()]
    assert drawn == [prompt for prompt in drawn[::3] for _ in range(3)] and sorted(drawn[::3]) == sorted(DIALOGUES)


@pytest.mark.parametrize("method", METHODS, ids=("grpo", "rloo"))
def test_equal_scores_are_silent(method, tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(method, tiny_model, tiny_tokenizer, reward=lambda texts: [1.0] * len(texts), kl_coef=0.0)
    before = {name: weight.detach().clone() for name, weight in trainer.policy.trained().items()}
    (metrics,) = trainer.run(1, show_progress=False).history
    assert metrics["silent"] == 1 and metrics["spread"] == 0 and metrics["policy_loss"] == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.policy.trained().items())


@pytest.mark.parametrize("method", METHODS, ids=("grpo", "rloo"))
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(method, tiny_model, tiny_tokenizer, tmp_path):
    whole = tiny_trainer(method, tiny_model, tiny_tokenizer)
    whole.run(4, show_progress=False)
    tiny_trainer(method, tiny_model, tiny_tokenizer, tmp_path).run(2, show_progress=False)
    resumed = tiny_trainer(method, tiny_model, tiny_tokenizer, tmp_path)
    assert resumed.run(4, show_progress=False).history == whole.history


def test_the_kl_ends_a_run(tiny_model, tiny_tokenizer):
    ended = tiny_trainer(METHODS[0], tiny_model, tiny_tokenizer, learning_rate=2e-2, kl_coef=0.0, max_kl=0.5)
    result = ended.run(40, show_progress=False)
    assert len(result.history) < 40 and "above max_kl, 0.5" in result.stopped


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"group_size": 1}, "group_size: 1"), ({"group_size": 6}, "group_size: 6 with a batch_size of 128")],
)
def test_settings_that_make_no_sense_are_named(changed, named):
    with pytest.raises(ValueError, match=named):
        GRPOConfig(**changed)


def test_no_prompts_are_named(tiny_model, tiny_tokenizer):
    with pytest.raises(AlignmentError, match="prompts: there are none; rloo needs"):
        RLOOTrainer(Policy.from_supervised(tiny_model), tiny_tokenizer, Brevity(), [], RLOOConfig(), seed=0)
