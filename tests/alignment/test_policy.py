"""The policy: one backbone, a reference through its adapter, and rollouts that need no second look."""

import copy

import numpy as np
import pytest
import torch

from helpers.alignment.policy import Policy
from helpers.alignment.policy_evaluation import evaluate_policy
from helpers.alignment.ppo import sequence_kl
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from helpers.training.finetuning_methods import ATTENTION, adapt, lora
from tests.conftest import DIALOGUES
from tests.training.training_cases import with_dropout


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    found = tiny_tokenizer(DIALOGUES, return_tensors="pt", padding=True)
    return found["input_ids"], found["attention_mask"]


@pytest.fixture(scope="module")
def policy(tiny_model):
    """One whose adapter and value head have moved away from where they start."""
    policy = Policy.from_supervised(tiny_model, lora(4, ATTENTION))
    with torch.no_grad():
        for number, weight in enumerate(policy.trained().values()):
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return policy


def drawn(policy, batch, seed=0, most=16):
    return policy.sample(*batch, most, torch.Generator().manual_seed(seed))


def test_what_the_rollout_noted_is_what_a_second_look_gives(policy, batch):
    rollout = drawn(policy, batch)
    with torch.no_grad():
        logprobs, values, logits = policy(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)
    assert torch.allclose(logprobs * rollout.mask, rollout.logprobs, atol=1e-4)
    assert torch.allclose(values * rollout.mask, rollout.values, atol=1e-4) and rollout.values.any()
    assert logits.shape[:2] == rollout.mask.shape and rollout.decoder_ids.shape[1] == rollout.mask.shape[1] + 1


def test_a_mask_ends_with_the_end_token_and_padding_follows(policy, batch, tiny_tokenizer):
    rollout = drawn(policy, batch, seed=5)
    assert not rollout.mask.all(), "no completion came to its end: the test says nothing"
    for ids, mask in zip(rollout.decoder_ids[:, 1:].tolist(), rollout.mask.tolist()):
        length = sum(mask)
        assert mask == [True] * length + [False] * (len(mask) - length)
        assert tiny_tokenizer.eos_token_id not in ids[: length - 1] and not any(ids[length:])
        assert length == len(mask) or ids[length - 1] == tiny_tokenizer.eos_token_id


def test_the_reference_is_the_supervised_model_and_the_first_kl_is_zero(tiny_model, batch):
    supervised = tiny_model
    policy = Policy.from_supervised(supervised)
    rollout = drawn(policy, batch)
    assert sequence_kl(rollout.logprobs, policy.reference_logprobs(rollout), rollout.mask).abs().max() < 1e-4
    with torch.no_grad():
        plain = Policy(copy.deepcopy(supervised))(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0]
    assert torch.allclose(plain * rollout.mask, rollout.logprobs, atol=1e-4)


def test_an_adapted_model_is_merged_and_becomes_the_reference(tiny_model, batch):
    adapted = adapt(tiny_model, lora(4))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            weight.add_(0.05 * ("lora_B" in name))
    before = fingerprint(adapted)
    policy = Policy.from_supervised(adapted)
    rollout = drawn(policy, batch)
    with torch.no_grad():
        supervised = (
            Policy(copy.deepcopy(adapted))(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0]
            * rollout.mask
        )
        base = Policy(tiny_model)(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0] * rollout.mask
    assert torch.allclose(policy.reference_logprobs(rollout), supervised, atol=1e-4)
    assert not torch.allclose(base, supervised, atol=1e-2) and fingerprint(adapted) == before


def test_the_moved_policy_differs_from_its_reference_and_comes_back_from_it(policy, batch):
    rollout = drawn(policy, batch)
    reference = policy.reference_logprobs(rollout)
    assert not torch.allclose(reference, rollout.logprobs, atol=1e-2)
    assert torch.allclose(
        policy(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0] * rollout.mask,
        rollout.logprobs,
        atol=1e-4,
    )


def test_dropout_stays_off(tiny_model, batch):
    policy = Policy.from_supervised(with_dropout(tiny_model, 0.5)).train()
    rollout = drawn(policy, batch)
    assert torch.allclose(
        policy(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0] * rollout.mask,
        rollout.logprobs,
        atol=1e-4,
    )


def test_only_adapter_and_value_head_are_trained(tiny_model):
    names = set(Policy.from_supervised(tiny_model).trained())
    assert {name for name in names if "lora_" not in name} == {"value_head.weight", "value_head.bias"} and len(
        names
    ) > 2


def test_a_fixed_encoder_is_asked_once(tiny_model, batch):
    policy = Policy.from_supervised(tiny_model)
    rollout = drawn(policy, batch)
    assert policy.encoder_is_fixed and rollout.states.shape[:2] == rollout.prompt_ids.shape
    scored = (rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)
    assert torch.equal(policy(*scored, rollout.states).logits, policy(*scored).logits)
    part = rollout.rows(torch.tensor([2, 0]))
    assert torch.equal(part.states, rollout.states[[2, 0], : part.prompt_ids.shape[1]])


def test_an_encoder_that_is_trained_is_asked_again(tiny_model, batch):
    policy = Policy.from_supervised(tiny_model, lora(4))
    rollout = drawn(policy, batch)
    assert not policy.encoder_is_fixed and rollout.states is None and rollout.rows(torch.tensor([1])).states is None


def test_draws_follow_the_generator(policy, batch):
    one, same, other = (drawn(policy, batch, seed) for seed in (0, 0, 1))
    assert torch.equal(one.decoder_ids, same.decoder_ids) and not torch.equal(one.decoder_ids, other.decoder_ids)


def test_some_rows_are_scored_as_among_all(policy, batch):
    rollout = drawn(policy, batch)
    part = rollout.rows(torch.tensor([3, 1]))
    assert (
        len(part) == 2
        and part.mask.shape[1] <= rollout.mask.shape[1]
        and part.prompt_ids.shape[1] <= rollout.prompt_ids.shape[1]
    )
    with torch.no_grad():
        logprobs = policy(part.prompt_ids, part.prompt_mask, part.decoder_ids)[0]
    assert torch.allclose(logprobs * part.mask, rollout.logprobs[[3, 1], : part.mask.shape[1]], atol=1e-4)


def test_an_evaluation_repeats_with_its_seed_and_judges_the_completion_alone(policy, tiny_tokenizer):
    rows = [{"dialogue": text, "summaries": ["He eats sweets.", "Two copies."]} for text in DIALOGUES]
    heard = []

    class Reward:
        def __call__(self, texts):
            heard.extend(texts)
            return torch.arange(float(len(texts)))

        def toxicity(self, texts):
            return np.zeros(len(texts))

    one, same, other = (
        evaluate_policy(
            policy,
            tiny_tokenizer,
            rows,
            Reward(),
            show_progress=False,
            settings=load_settings("pocket", generation_batch_size=4, max_new_tokens=8, draws=2, seed=seed),
        )
        for seed in (1, 1, 2)
    )
    assert one.completions == same.completions != other.completions and np.array_equal(one.kl, same.kl)
    assert all(np.shape(values) == (2, 6) for values in vars(one).values()) and (one.tokens <= 8).all()
    assert one.completions[0] != one.completions[1] and {text for draw in one.completions for text in draw} <= set(
        heard
    )
    assert one.per_dialogue("reward").tolist() == [
        (first + second) / 2 for first, second in zip(range(6), range(6, 12))
    ]
    assert not any(dialogue in text for text in heard for dialogue in DIALOGUES)
