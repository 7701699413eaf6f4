"""PPO for encoder-decoder models: the advantages of a batch of judged completions, and the mini-batch steps on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from helpers.alignment.online_trainer import (
    METRICS as ONLINE_METRICS,
    OnlineConfig,
    OnlineTrainer,
    policy_parts,
    update_by,
)
from helpers.alignment.policy import Policy, Rollout
from helpers.alignment.ppo import (
    adapted_kl_coef,
    generalised_advantages,
    penalised_rewards,
    policy_loss,
    total_loss,
    value_loss,
    whiten,
)
from helpers.alignment.training_loop import checked_loss

METRICS = ONLINE_METRICS | {
    "value_loss": "L_VF, half the squared error of the value head, mean over updates",
    "explained_variance": "of the returns by the values: 1 is perfect, 0 no better than a constant",
}


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnlineConfig):
    """How PPO learns, beside what `OnlineConfig` says.

    The defaults were found on the `pocket` profile: many completions a batch, a low rate that falls to 0, and λ = 1,
    because the value head of so small a model predicts the reward of a completion badly before its end.

    Attributes:
        value_learning_rate: for the value head; it is annealed as the policy's.
        kl_target: nats a completion that β is adapted to, None keeps it fixed.
        gamma, lam, cliprange_value: as in `helpers.alignment.ppo`; None leaves the value loss unclipped.
        vf_coef: c₁ of the loss; entropy_coef is c₂.
        skip_first_token: leaves the first token of each completion out, as trl 0.11.4 does; for comparisons only.
    """

    not_negative: ClassVar[tuple[str, ...]] = (*OnlineConfig.not_negative, "vf_coef")
    positive: ClassVar[tuple[str, ...]] = (*OnlineConfig.positive, "value_learning_rate")
    positive_or_none: ClassVar[tuple[str, ...]] = (*OnlineConfig.positive_or_none, "kl_target", "cliprange_value")

    value_learning_rate: float = 3e-3
    kl_target: float | None = None
    gamma: float = 1.0
    lam: float = 1.0
    cliprange_value: float | None = None
    vf_coef: float = 0.1
    skip_first_token: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not between 0 and 1")


@dataclass(frozen=True)
class Experience:
    """A batch of completions with everything that updates need; (B, T) where nothing else is said.

    Attributes:
        rollout: the completions, their log-probabilities and values when they were written.
        reference_logprobs: of the model before reinforcement; scores: (B,) of the reward model.
        rewards: of each token; mask: the tokens that are learned from; advantages: whitened; returns: for the value
            head.
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


def minibatch_loss(
    policy: Policy, experience: Experience, rows: torch.Tensor, config: PPOConfig
) -> tuple[torch.Tensor, dict[str, float]]:
    """(loss with its gradient, its parts as numbers) of some of the completions; `rows` are their indices in the
    batch.
    """
    part = experience.rollout.rows(rows)
    width = part.mask.shape[1]
    mask, advantages, returns = (
        tensor[rows][:, :width] for tensor in (experience.mask, experience.advantages, experience.returns)
    )
    scored = policy(part.prompt_ids, part.prompt_mask, part.decoder_ids, part.states)
    surrogate = policy_loss(scored.logprobs, part.logprobs, advantages, mask, config.cliprange)
    critic = value_loss(scored.values, part.values, returns, mask, config.cliprange_value or math.inf)
    entropy, parts = policy_parts(surrogate, scored, part, mask, config)
    loss = total_loss(surrogate.loss, critic.loss, entropy, config.vf_coef, config.entropy_coef)
    parts["value_loss"] = critic.loss.item()
    return checked_loss(loss, config.learning_rate, policy=parts["policy_loss"], value=parts["value_loss"]), parts


def update(
    policy: Policy, optimizer, experience: Experience, config: PPOConfig, orders: Sequence[torch.Tensor]
) -> dict[str, float]:
    """Learns from one batch; arguments and result are those of `helpers.alignment.online_trainer.update_by`."""
    loss_of = partial(minibatch_loss, policy, experience, config=config)
    return update_by(loss_of, policy, optimizer, config, orders)


class PPOTrainer(OnlineTrainer):
    """PPO, one batch a step; its arguments are those of `OnlineTrainer`."""

    name = "ppo"
    metrics = METRICS

    @staticmethod
    def weight_groups(policy, config):
        """The policy's weights, and the value head's, which learns at a rate of its own."""
        return [
            *OnlineTrainer.weight_groups(policy, config),
            (list(policy.value_head.parameters()), config.value_learning_rate),
        ]

    def make_experience(self, rollout, reference_logprobs, scores):
        """See the function of this name."""
        return make_experience(rollout, reference_logprobs, scores, self.config, self.kl_coef)

    def loss(self, experience, rows):
        """See `minibatch_loss`."""
        return minibatch_loss(self.policy, experience, rows, self.config)

    def batch_metrics(self, experience):
        """How well the value head predicts."""
        rollout = experience.rollout
        residual, spread = (experience.returns - rollout.values)[rollout.mask], experience.returns[rollout.mask]
        return {"explained_variance": 1 - (residual.var() / spread.var().clamp(min=1e-8)).item()}

    def step(self):
        """One batch; then β is adapted, where it has a target."""
        metrics = super().step()
        if self.config.kl_target is not None:
            self.kl_coef = adapted_kl_coef(self.kl_coef, metrics["kl"], self.config.kl_target, self.config.batch_size)
        return metrics
