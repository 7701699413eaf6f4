"""GRPO and RLOO for encoder-decoder models: several completions of each prompt, compared with each other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from helpers.alignment.group_relative import (
    group_advantages,
    grouped,
    grpo_loss,
    leave_one_out_advantages,
    rloo_loss,
)
from helpers.alignment.online_trainer import (
    METRICS as ONLINE_METRICS,
    OnlineConfig,
    OnlineTrainer,
    policy_parts,
)
from helpers.alignment.policy import Rollout
from helpers.alignment.ppo import penalised_rewards, sequence_kl
from helpers.alignment.training_loop import checked_loss

METRICS = ONLINE_METRICS | {
    "spread": "standard deviation of the scores within a group, mean: what can be learned from",
    "silent": "share of the groups whose scores are all the same: they teach nothing",
}


@dataclass(frozen=True, kw_only=True)
class GroupConfig(OnlineConfig):
    """How a policy learns from groups of completions, beside what `OnlineConfig` says.

    The defaults of β were chosen on validation dialogues of the `pocket` profile (`sweeps/preference_optimization.py`).

    Attributes:
        group_size: completions of each prompt; batch_size is a multiple of it.
    """

    whole: ClassVar[tuple[str, ...]] = (*OnlineConfig.whole, "group_size")

    group_size: int = 8
    kl_coef: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        if self.group_size < 2 or self.batch_size % self.group_size:
            raise ValueError(
                f"group_size: {self.group_size} with a batch_size of {self.batch_size}; a group needs two completions "
                "at least, and a batch holds whole groups"
            )


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(GroupConfig):
    """How GRPO learns.

    Attributes:
        scale: divides advantages by the group's standard deviation; by_completion: gives each completion the same
            weight instead of each token. Both False is Dr. GRPO but for its constant length.
    """

    scale: bool = True
    by_completion: bool = True


@dataclass(frozen=True, kw_only=True)
class RLOOConfig(GroupConfig):
    """How RLOO learns; its KL penalty is part of the reward, as PPO's."""

    kl_coef: float = 0.2


@dataclass(frozen=True)
class GroupExperience:
    """A batch of completions with everything that updates need.

    Attributes:
        rollout: the completions and their log-probabilities when they were written.
        reference_logprobs: (B, T) of the model before reinforcement; scores: (B,) of the reward model.
        rewards: (B, T) of each token, the KL penalty included; advantages: (B,), one for a whole completion.
    """

    rollout: Rollout
    reference_logprobs: torch.Tensor
    scores: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor


class _GroupTrainer(OnlineTrainer):
    """What GRPO and RLOO share: a batch holds groups."""

    metrics = METRICS

    def draw(self):
        """The prompts of the next batch, each as often as a group has completions."""
        size = self.config.group_size
        drawn = self.draw_rows(self.config.batch_size // size)
        return [self.prompts[index] for index in drawn for _ in range(size)]

    @abstractmethod
    def advantages(self, scores: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """(B,) of the scores and of the KL of each completion to the reference, (B,) both."""

    def make_experience(self, rollout, reference_logprobs, scores):
        """Rewards and advantages of a batch of completions that were drawn and judged."""
        kl = sequence_kl(rollout.logprobs, reference_logprobs, rollout.mask)
        rewards = penalised_rewards(scores, rollout.logprobs, reference_logprobs, rollout.mask, self.kl_coef)
        return GroupExperience(rollout, reference_logprobs, scores, rewards, self.advantages(scores, kl))

    @abstractmethod
    def surrogate(self, experience, rows, new_logprobs, logprobs, mask):
        """The method's `Clipped` loss of some completions."""

    def loss(self, experience, rows):
        """(loss with its gradient, its parts as numbers) of some of the completions; `rows` are their indices."""
        part = experience.rollout.rows(rows)
        scored = self.policy(part.prompt_ids, part.prompt_mask, part.decoder_ids, part.states)
        surrogate = self.surrogate(experience, rows, scored.logprobs, part.logprobs, part.mask)
        entropy, parts = policy_parts(surrogate, scored, part, part.mask, self.config)
        loss = surrogate.loss - self.config.entropy_coef * entropy
        return checked_loss(loss, self.config.learning_rate, policy=parts["policy_loss"]), parts

    def batch_metrics(self, experience):
        """How much the scores of a group differ."""
        groups = grouped(experience.scores, self.config.group_size)
        return {
            "spread": groups.std(1).mean().item(),
            "silent": (groups.amax(1) == groups.amin(1)).float().mean().item(),
        }


class GRPOTrainer(_GroupTrainer):
    """Group relative policy optimisation, one batch a step; its arguments are those of `OnlineTrainer`."""

    name = "grpo"

    def advantages(self, scores, kl):
        """Relative to the group; the KL is penalised in the loss instead."""
        return group_advantages(scores, self.config.group_size, self.config.scale)

    def surrogate(self, experience, rows, new_logprobs, logprobs, mask):
        """See `helpers.alignment.group_relative.grpo_loss`."""
        reference = experience.reference_logprobs[rows][:, : mask.shape[1]]
        return grpo_loss(
            new_logprobs,
            logprobs,
            reference,
            experience.advantages[rows],
            mask,
            self.kl_coef,
            self.config.cliprange,
            self.config.by_completion,
        )


class RLOOTrainer(_GroupTrainer):
    """REINFORCE with a leave-one-out baseline, one batch a step; its arguments are those of `OnlineTrainer`."""

    name = "rloo"

    def advantages(self, scores, kl):
        """Against the others of the group, of scores from which the KL penalty is taken."""
        return leave_one_out_advantages(scores - self.kl_coef * kl, self.config.group_size)

    def surrogate(self, experience, rows, new_logprobs, logprobs, mask):
        """See `helpers.alignment.group_relative.rloo_loss`."""
        return rloo_loss(new_logprobs, logprobs, experience.advantages[rows], mask, self.config.cliprange)
