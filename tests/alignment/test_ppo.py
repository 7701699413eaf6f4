"""PPO's mathematics: against plain versions, invariances, and a recording of the last library that had it."""

import math

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from helpers.alignment.ppo import (
    adapted_kl_coef,
    annealed,
    approximate_kl,
    generalised_advantages,
    masked_mean,
    penalised_rewards,
    policy_loss,
    sequence_kl,
    token_entropy,
    token_logprobs,
    total_loss,
    value_loss,
    whiten,
)
from tests.alignment.ppo_parity import TOLERANCE, compare, main


@st.composite
def batches(draw, tensors=2):
    """(lengths, mask, some (B, T) tensors of numbers between −3 and 3); lengths may be 0."""
    width = draw(st.integers(1, 7))
    lengths = draw(st.lists(st.integers(0, width), min_size=1, max_size=5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    return (
        lengths,
        mask,
        [torch.rand(len(lengths), width, generator=generator, dtype=torch.float64) * 6 - 3 for _ in range(tensors)],
    )


def plain_advantages(rewards, values, gamma, lam):
    """Of one completion, as the sum in the paper is written."""
    values = [*values, 0.0]
    deltas = [reward + gamma * values[t + 1] - values[t] for t, reward in enumerate(rewards)]
    return [
        sum((gamma * lam) ** later * deltas[t + later] for later in range(len(deltas) - t)) for t in range(len(deltas))
    ]


@given(batches(), st.floats(0, 1), st.floats(0, 1))
def test_advantages_are_the_sum_of_the_paper(batch, gamma, lam):
    lengths, mask, (rewards, values) = batch
    advantages, returns = generalised_advantages(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        wanted = plain_advantages(rewards[row, :length].tolist(), values[row, :length].tolist(), gamma, lam)
        assert advantages[row, :length].tolist() == pytest.approx(wanted, abs=1e-9)
        assert returns[row, :length].tolist() == pytest.approx(
            [a + v for a, v in zip(wanted, values[row].tolist())], abs=1e-9
        )
    assert not advantages[~mask].any() and not returns[~mask].any()


@given(batches(tensors=4), st.floats(-100, 100))
def test_padding_never_matters(batch, junk):
    lengths, mask, clean = batch
    dirty = [torch.where(mask, tensor, torch.full_like(tensor, junk)) for tensor in clean]
    scores = torch.linspace(-1, 1, len(lengths), dtype=torch.float64)

    def everything(first, second, third, fourth):
        rewards = penalised_rewards(scores, first, second, mask, 0.3)
        advantages, returns = generalised_advantages(rewards, third, mask)
        white = whiten(advantages, mask)
        return (
            rewards,
            white,
            returns,
            *policy_loss(fourth, first, white, mask),
            *value_loss(fourth, third, returns, mask),
            approximate_kl(first, second, mask),
            sequence_kl(first, second, mask),
        )

    for one, other in zip(everything(*clean), everything(*dirty)):
        assert torch.allclose(one, other, atol=1e-9)


@given(batches(tensors=1), st.floats(0.5, 20), st.floats(-50, 50))
def test_whitening_forgets_shift_and_scale(batch, scale, shift):
    _, mask, (values,) = batch
    assume(mask.sum() > 1 and values[mask].var() > 0.01)  # far above the 1e-8 that keeps the division possible
    white = whiten(values, mask)
    assert torch.allclose(whiten(values * scale + shift, mask), white, atol=1e-4)
    assert abs(masked_mean(white, mask)) < 1e-9 and not white[~mask].any()
    assert white[mask].var() == pytest.approx(1, abs=1e-4)


@given(batches(tensors=2))
def test_a_policy_that_has_not_moved_has_no_kl_and_clips_nothing(batch):
    _, mask, (logprobs, advantages) = batch
    loss, clipped = policy_loss(logprobs, logprobs, advantages, mask)
    assert approximate_kl(logprobs, logprobs, mask) == 0 and not sequence_kl(logprobs, logprobs, mask).any()
    assert clipped == 0 and loss == pytest.approx(-masked_mean(advantages, mask).item(), abs=1e-9)


@given(batches(tensors=2), st.floats(0, 2))
def test_the_penalised_rewards_of_a_completion_add_up_to_score_minus_kl(batch, kl_coef):
    lengths, mask, (logprobs, reference) = batch
    scores = torch.arange(len(lengths), dtype=torch.float64) + 1
    total = penalised_rewards(scores, logprobs, reference, mask, kl_coef).sum(1)
    wanted = torch.where(mask.any(1), scores - kl_coef * sequence_kl(logprobs, reference, mask), 0)
    assert torch.allclose(total, wanted, atol=1e-9)


def test_the_score_comes_with_the_last_token_and_an_empty_completion_gets_none():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    zero = torch.zeros(3, 3)
    assert penalised_rewards(torch.tensor([5.0, 7, 9]), zero, zero, mask, 0.2).tolist() == [
        [0, 5, 0],
        [7, 0, 0],
        [0, 0, 0],
    ]


def test_clipping_acts_where_the_policy_went_further_in_the_direction_that_pays():
    ratios, mask = torch.tensor([[1.5, 0.5, 1.5, 0.5]]), torch.ones(1, 4)
    advantages = torch.tensor([[1.0, 1, -1, -1]])
    loss, clipped = policy_loss(ratios.log(), torch.zeros(1, 4), advantages, mask, cliprange=0.2)
    assert loss == pytest.approx((-1.2 - 0.5 + 1.5 + 0.8) / 4) and clipped == 0.5


def test_the_value_head_gains_nothing_by_moving_further_than_the_range():
    new, old, returns = torch.tensor([[1.0]], requires_grad=True), torch.zeros(1, 1), torch.full((1, 1), 2.0)
    loss, clipped = value_loss(new, old, returns, torch.ones(1, 1), cliprange=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(1.8**2 / 2) and clipped == 1 and new.grad == 0


def test_logprobs_and_entropy_are_those_of_torch():
    logits = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[0, 10, 4], [3, 3, 1]])
    distribution = torch.distributions.Categorical(logits=logits)
    assert torch.allclose(token_logprobs(logits, tokens), distribution.log_prob(tokens), atol=1e-6)
    assert torch.allclose(token_entropy(logits), distribution.entropy(), atol=1e-6)
    assert token_entropy(torch.zeros(1, 1, 8)).item() == pytest.approx(math.log(8))


def test_equal_rewards_and_single_tokens_give_no_advantage_and_no_nan():
    for mask in (torch.ones(3, 4).bool(), torch.tensor([[True, False]]), torch.zeros(2, 2).bool()):
        white = whiten(torch.full(mask.shape, 7.0), mask)
        assert torch.isfinite(white).all() and white.abs().max() < 1e-3


def test_entropy_lowers_the_loss_and_the_coefficients_weigh():
    parts = (torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0))
    assert total_loss(*parts, vf_coef=0.5, entropy_coef=0.1) == pytest.approx(1 + 1 - 0.3)


@given(st.floats(0, 100), st.floats(0.1, 50))
@settings(max_examples=50)
def test_the_controller_moves_towards_its_target_and_never_in_leaps(kl, target):
    after = adapted_kl_coef(0.2, kl, target, completions=64)
    assert (after > 0.2) == (kl > target) or kl == pytest.approx(target)
    assert abs(after / 0.2 - 1) <= 0.2 * 64 / 10_000 + 1e-12


def test_the_rate_falls_linearly_and_stays_where_nothing_is_asked():
    assert [annealed(0.5, 5, done) for done in range(6)] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0])
    assert annealed(0.5, 5, 9) == 0 and annealed(0.5, None, 9) == 0.5


def test_every_tensor_of_a_recorded_step_comes_out():
    worst = compare()
    assert len(worst) == 33 and {name: value for name, value in worst.items() if value > TOLERANCE} == {}


def test_the_comparison_fails_where_something_differs(tmp_path, capsys):
    import shutil

    from tests.alignment.ppo_parity import FOLDER

    folder = shutil.copytree(FOLDER, tmp_path / "other")
    shutil.copy(folder / "policy.safetensors", folder / "ref.safetensors")
    assert main([str(folder)]) == 1 and "ref_logprobs" in capsys.readouterr().out.split("PAST THE TOLERANCE")[0]
    assert main([]) == 0
