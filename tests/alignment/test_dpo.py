"""DPO: its loss by hand, and training on pairs: it learns what they say, resumes, and names what goes wrong."""

import math

import numpy as np
import pytest
import torch

from helpers.alignment.dpo import dpo_loss, implicit_reward
from helpers.alignment.dpo_trainer import METRICS, DPOConfig, DPOTrainer, encode_preferences, implicit_rewards
from helpers.alignment.policy import Policy
from helpers.alignment.training_loop import AlignmentError
from helpers.training.finetuning_methods import ATTENTION, lora
from tests.conftest import DIALOGUES, SUMMARIES

PAIRS = [(dialogue, summary, "Cold lemonade until seven.") for dialogue, summary in zip(DIALOGUES, SUMMARIES)]
CONFIG = {"batch_size": 3, "learning_rate": 5e-3, "max_new_tokens": 12}


def tiny_policy(model, encoder=False, seed=1):
    return Policy.from_supervised(model, lora(4, ATTENTION, alpha=8, encoder=encoder), seed=seed)


def tiny_trainer(model, tokenizer, folder=None, pairs=PAIRS, seed=3, encoder=False, **changed):
    return DPOTrainer(tiny_policy(model, encoder), tokenizer, pairs, DPOConfig(**CONFIG | changed), seed, folder)


def test_the_loss_by_hand():
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, -50.0]])
    reference = torch.tensor([[-2.0, -2.5], [-1.0, -70.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert implicit_reward(logprobs, reference, mask, 0.5).tolist() == pytest.approx([0.75, -1.0])
    found = dpo_loss(logprobs, reference, mask, 0.5)
    assert found.loss.item() == pytest.approx(math.log(1 + math.exp(-1.75)))
    assert (found.better.item(), found.worse.item()) == pytest.approx((0.75, -1.0))


def test_the_best_policy_of_the_penalised_reward_has_it_as_its_implicit_reward():
    """Rafailov et al. 2023, equations 4 and 5: maximised by gradient over three completions of one prompt."""
    rewards, reference, beta = torch.tensor([1.0, -0.5, 0.3]), torch.tensor([0.2, 0.5, 0.3]).log(), 0.7
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(1000):
        policy = logits.log_softmax(0)
        loss = -(policy.exp() * (rewards - beta * (policy - reference))).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    implicit = beta * (logits.detach().log_softmax(0) - reference)
    assert torch.allclose(implicit - implicit.mean(), rewards - rewards.mean(), atol=1e-3)


def test_it_learns_which_completion_is_better(tiny_model, tiny_tokenizer):
    trainer = tiny_trainer(tiny_model, tiny_tokenizer)
    held = encode_preferences(trainer.policy, tiny_tokenizer, PAIRS, 12)
    assert np.abs(implicit_rewards(trainer.policy, held, 0.1)).max() < 1e-5
    history = trainer.run(30, show_progress=False).history
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and history[-1]["loss"] < 0.5
    assert all(set(step) == set(METRICS) and np.isfinite(list(step.values())).all() for step in history)
    rewards = implicit_rewards(trainer.policy, held, 0.1, batch_size=4)
    assert rewards.shape == (6, 2) and (rewards[:, 0] > rewards[:, 1]).all()


def test_a_smaller_beta_leaves_the_reference_further(tiny_model, tiny_tokenizer):
    near, far = (
        np.abs(
            implicit_rewards(
                tiny_trainer(tiny_model, tiny_tokenizer, kl_coef=beta).run(20, show_progress=False).policy,
                encode_preferences(tiny_policy(tiny_model), tiny_tokenizer, PAIRS, 12),
                1.0,
            )
        ).mean()
        for beta in (2.0, 0.05)
    )
    assert near < far


def test_completions_are_cut_and_padded(tiny_model, tiny_tokenizer):
    long = " ".join(SUMMARIES)
    found = encode_preferences(tiny_policy(tiny_model), tiny_tokenizer, [(DIALOGUES[0], long, "")], 12)
    end = tiny_tokenizer.eos_token_id
    assert found.mask.sum(1).tolist() == [12, 1] and (found.decoder_ids[:, 0] == 0).all()
    assert found.decoder_ids[1, 1] == end and end not in found.decoder_ids[0]
    short = encode_preferences(tiny_policy(tiny_model), tiny_tokenizer, [(DIALOGUES[0], SUMMARIES[0], "x")], 60)
    assert short.texts(tiny_tokenizer)[0] == SUMMARIES[0] and end in short.decoder_ids[0]


def test_the_encoder_may_learn_too(tiny_model, tiny_tokenizer):
    fixed, learned = (tiny_trainer(tiny_model, tiny_tokenizer, encoder=choice) for choice in (False, True))
    assert fixed.policy.encoder_is_fixed and not learned.policy.encoder_is_fixed
    before = {name: weight.detach().clone() for name, weight in learned.policy.trained().items()}
    learned.run(2, show_progress=False)
    assert any(
        "encoder" in name and not torch.equal(weight, before[name]) for name, weight in learned.policy.trained().items()
    )


def test_a_stopped_run_ends_at_the_weights_of_an_uninterrupted_one(tiny_model, tiny_tokenizer, tmp_path):
    def stop(history):
        if len(history) == 7:
            raise KeyboardInterrupt

    whole = tiny_trainer(tiny_model, tiny_tokenizer, anneal_steps=10)
    whole.run(10, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        trainer = tiny_trainer(tiny_model, tiny_tokenizer, tmp_path, anneal_steps=10)
        trainer.step = lambda step=trainer.step: (stop(trainer.history), step())[1]
        trainer.run(10, save_every=2, show_progress=False)
    resumed = tiny_trainer(tiny_model, tiny_tokenizer, tmp_path, anneal_steps=10)
    assert resumed.run(10, show_progress=False).history == whole.history
    for name, weight in whole.policy.trained().items():
        assert torch.equal(weight, resumed.policy.trained()[name]), name
    other = tiny_trainer(tiny_model, tiny_tokenizer, tmp_path, pairs=PAIRS[::-1], anneal_steps=10)
    assert other.folder != resumed.folder


@pytest.mark.parametrize(
    ("pairs", "named"), [([], "pairs: there are none"), (PAIRS[:2], "there are 2, fewer than the batch_size, 3")]
)
def test_too_few_pairs_are_named(pairs, named, tiny_model, tiny_tokenizer):
    with pytest.raises(AlignmentError, match=named):
        tiny_trainer(tiny_model, tiny_tokenizer, pairs=pairs)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"batch_size": 0}, "batch_size: 0"), ({"kl_coef": 0}, "kl_coef: 0"), ({"learning_rate": None}, "learning_rate")],
)
def test_settings_that_make_no_sense_are_named(changed, named):
    with pytest.raises(ValueError, match=named):
        DPOConfig(**changed)
