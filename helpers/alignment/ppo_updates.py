"""PPO's updates: what a batch of judged completions is worth, and one policy's mini-batch steps on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from helpers.alignment.policy import Policy, Rollout
from helpers.alignment.ppo import (
    approximate_kl,
    generalised_advantages,
    masked_mean,
    penalised_rewards,
    policy_loss,
    token_entropy,
    total_loss,
    value_loss,
    whiten,
)

MAY_BE_NONE = ("anneal_steps", "kl_target", "max_update_kl", "max_kl", "cliprange_value", "max_grad_norm")


class PPOError(RuntimeError):
    """A run that cannot go on; the message says what was found and what to change."""


@dataclass(frozen=True)
class PPOConfig:
    """How PPO learns. Checked when made: a ValueError names the field and the value.

    The defaults were found on the `pocket` profile: many completions a batch, a low rate that falls to 0, and λ = 1, because the value head of so
    small a model hardly knows before the end what a completion is going to be worth.

    Attributes:
        batch_size: completions drawn before each round of updates; mini_batch_size: completions in one update.
        epochs: passes over each batch.
        learning_rate: of Adam, for the policy; value_learning_rate: for the value head; anneal_steps: over so many batches both fall to 0,
            linearly; None keeps them constant.
        kl_coef: β; kl_target: nats a completion that β is adapted to, None keeps it fixed.
        max_update_kl: ends the passes over a batch once the policy has moved so far, nats a token; None never does.
        max_kl: ends the run once the KL to the reference is above it, nats a completion; None never does.
        gamma, lam, cliprange, cliprange_value: as in `helpers.alignment.ppo`; None leaves the value loss unclipped.
        vf_coef, entropy_coef: c₁ and c₂ of the loss.
        max_grad_norm: gradients are scaled down to it; None leaves them.
        max_new_tokens: the longest completion.
        skip_first_token: leaves the first token of each completion out, as trl 0.11.4 does; for comparisons only.
    """
    batch_size: int = 128
    mini_batch_size: int = 32
    epochs: int = 2
    learning_rate: float = 5e-4
    value_learning_rate: float = 3e-3
    anneal_steps: int | None = None
    kl_coef: float = 0.8
    kl_target: float | None = None
    max_update_kl: float | None = 0.1
    max_kl: float | None = None
    gamma: float = 1.0
    lam: float = 1.0
    cliprange: float = 0.2
    cliprange_value: float | None = None
    vf_coef: float = 0.1
    entropy_coef: float = 0.0
    max_grad_norm: float | None = 1.0
    max_new_tokens: int = 96
    skip_first_token: bool = False

    def __post_init__(self):
        for name in ("batch_size", "mini_batch_size", "epochs", "max_new_tokens"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a whole number of at least 1")
        if self.mini_batch_size > self.batch_size:
            raise ValueError(f"mini_batch_size: {self.mini_batch_size} is more than the batch_size, {self.batch_size}")
        for name in ("kl_coef", "vf_coef", "entropy_coef"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a number of at least 0")
        for name in ("learning_rate", "value_learning_rate", "cliprange", *MAY_BE_NONE):
            value = getattr(self, name)
            if not (value is None and name in MAY_BE_NONE or value is not None and 0 < value < math.inf):
                raise ValueError(f"{name}: {value!r} is not a number above 0")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not between 0 and 1")


@dataclass(frozen=True)
class Experience:
    """A batch of completions with everything that updates need; (B, T) where nothing else is said.

    Attributes:
        rollout: the completions, their log-probabilities and values when they were written.
        reference_logprobs: of the model before reinforcement; scores: (B,) of the reward model.
        rewards: of each token; mask: the tokens that are learned from; advantages: whitened; returns: for the value head.
    """
    rollout: Rollout
    reference_logprobs: torch.Tensor
    scores: torch.Tensor
    rewards: torch.Tensor
    mask: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


def make_experience(rollout: Rollout, reference_logprobs, scores, config: PPOConfig, kl_coef: float) -> Experience:
    """Rewards, advantages and returns of a batch of completions that were drawn and judged."""
    mask = rollout.mask.clone()
    if config.skip_first_token:
        mask[:, 0] = False
    rewards = penalised_rewards(scores, rollout.logprobs, reference_logprobs, mask, kl_coef)
    advantages, returns = generalised_advantages(rewards, rollout.values, mask, config.gamma, config.lam)
    return Experience(rollout, reference_logprobs, scores, rewards, mask, whiten(advantages, mask), returns)


def minibatch_loss(policy: Policy, experience: Experience, rows: torch.Tensor, config: PPOConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """(loss with its gradient, its parts as numbers) of some of the completions; `rows` are their indices in the batch."""
    part = experience.rollout.rows(rows)
    width = part.mask.shape[1]
    mask, advantages, returns = (tensor[rows][:, :width] for tensor in (experience.mask, experience.advantages, experience.returns))
    logprobs, values, logits = policy(part.prompt_ids, part.prompt_mask, part.decoder_ids, part.states)
    surrogate = policy_loss(logprobs, part.logprobs, advantages, mask, config.cliprange)
    critic = value_loss(values, part.values, returns, mask, config.cliprange_value or math.inf)
    entropy = masked_mean(token_entropy(logits if config.entropy_coef else logits.detach()), mask)
    loss = total_loss(surrogate.loss, critic.loss, entropy, config.vf_coef, config.entropy_coef)
    if not torch.isfinite(loss):
        raise PPOError(f"loss: {loss.item()} (policy {surrogate.loss.item()}, value {critic.loss.item()}); lower the learning rate, now {config.learning_rate:g}")
    return loss, {"policy_loss": surrogate.loss.item(), "value_loss": critic.loss.item(), "entropy": entropy.item(),
                  "clip_fraction": surrogate.clip_fraction.item(), "update_kl": approximate_kl(logprobs.detach(), part.logprobs, mask).item()}


def update(policy: Policy, optimizer, experience: Experience, config: PPOConfig, orders: Sequence[torch.Tensor]) -> dict[str, float]:
    """Learns from one batch, in mini-batches; stops early once the policy has moved further than `max_update_kl`.

    Args:
        orders: for each pass, the order of the completions, (B,).
    Returns:
        the parts of the loss, means over the updates, and how many passes were made.
    """
    found, weights = [], list(policy.trained().values())
    for epoch, order in enumerate(orders, 1):
        for rows in order.split(config.mini_batch_size):
            loss, parts = minibatch_loss(policy, experience, rows, config)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(weights, config.max_grad_norm or math.inf)
            optimizer.step()
            found.append(parts | {"gradient_norm": norm.item()})
        if config.max_update_kl is not None and parts["update_kl"] > config.max_update_kl:
            break
    return {name: sum(parts[name] for parts in found) / len(found) for name in found[0]} | {"epochs": epoch}
