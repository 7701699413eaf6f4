"""Group-relative advantages and their losses, on numbers that can be checked by hand."""

import math

import pytest
import torch

from helpers.alignment.group_relative import (
    completion_mean,
    group_advantages,
    grpo_loss,
    kl_penalty,
    leave_one_out_advantages,
    rloo_loss,
)

SCORES = torch.tensor([1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 2.0, 2.0])
MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_advantages_are_relative_to_the_own_group():
    deviation = math.sqrt(20 / 3)
    wanted = [value / (deviation + 1e-4) for value in (-3, -1, 1, 3)]
    assert group_advantages(SCORES, 4)[:4].tolist() == pytest.approx(wanted)
    assert group_advantages(SCORES, 4, scale=False).tolist() == pytest.approx([-3, -1, 1, 3, 0, 0, 0, 0])
    assert group_advantages(SCORES, 4)[4:].tolist() == [0] * 4, "equal scores teach nothing"


def test_a_completion_is_no_part_of_its_own_baseline():
    found = leave_one_out_advantages(SCORES, 4)
    assert found.tolist() == pytest.approx([1 - 5, 3 - 13 / 3, 5 - 11 / 3, 7 - 3, 0, 0, 0, 0])
    assert torch.allclose(found, group_advantages(SCORES, 4, scale=False) * 4 / 3)


@pytest.mark.parametrize(
    ("size", "function"), [(1, group_advantages), (3, group_advantages), (1, leave_one_out_advantages)]
)
def test_groups_that_are_none_are_named(size, function):
    with pytest.raises(ValueError, match=f"group_size: {size} for 8 completions"):
        function(SCORES, size)


def test_the_penalty_is_never_negative_and_its_mean_is_the_kl():
    torch.manual_seed(0)
    p, q = torch.randn(2, 5).log_softmax(-1)
    tokens = torch.multinomial(p.exp(), 200_000, replacement=True)
    found = kl_penalty(p[tokens], q[tokens])
    assert (found >= 0).all() and found.mean().item() == pytest.approx(((p.exp() * (p - q)).sum()).item(), rel=0.02)


def test_each_completion_weighs_the_same_or_each_token():
    values = torch.tensor([[1.0, 1.0, 1.0], [5.0, 99.0, 99.0]])
    assert completion_mean(values, MASK).item() == 3
    advantages, zero = torch.tensor([-1.0, -5.0]), torch.zeros(2, 3)
    by_completion, by_token = (
        grpo_loss(zero, zero, zero, advantages, MASK, 0.0, by_completion=choice).loss.item() for choice in (True, False)
    )
    assert (by_completion, by_token) == (3, 2)


def test_grpo_clips_tokens_and_rloo_completions():
    old, new = torch.zeros(2, 3), torch.tensor([[0.15, 0.15, 0.15], [0.5, 0.0, 0.0]])
    advantages = torch.tensor([1.0, -1.0])
    tokens = grpo_loss(new, old, old, advantages, MASK, 0.0)
    assert tokens.clip_fraction.item() == 0 and tokens.loss.item() == pytest.approx(
        (-math.exp(0.15) + math.exp(0.5)) / 2
    )
    whole = rloo_loss(new, old, advantages, MASK)
    assert whole.clip_fraction.item() == 0.5 and whole.loss.item() == pytest.approx((-1.2 + math.exp(0.5)) / 2)


def test_the_gradient_raises_what_was_better_than_its_group():
    new = torch.zeros(8, 3, requires_grad=True)
    mask = torch.ones(8, 3, dtype=torch.bool)
    for loss in (
        grpo_loss(new, torch.zeros(8, 3), torch.zeros(8, 3), group_advantages(SCORES, 4), mask, 0.1).loss,
        rloo_loss(new, torch.zeros(8, 3), leave_one_out_advantages(SCORES, 4), mask).loss,
    ):
        (gradient,) = torch.autograd.grad(loss, new)
        assert (gradient[2:4] < 0).all() and (gradient[:2] > 0).all() and (gradient[4:] == 0).all()
