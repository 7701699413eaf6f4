"""What PPO, GRPO and RLOO share: the policy's own completions are drawn, judged and learned from, batch after batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from helpers.alignment.policy import Policy, Rollout, encode_for_policy
from helpers.alignment.ppo import annealed, approximate_kl, masked_mean, sequence_kl, token_entropy
from helpers.alignment.training_loop import AlignmentError, LoopConfig, TrainingLoop, gradient_step

METRICS = {
    "score": "what the reward model gave the completions, mean",
    "reward": "score minus the KL penalty, mean: what is maximised",
    "kl": "KL to the reference model, nats a completion, mean",
    "kl_coef": "β, the weight of that KL",
    "entropy": "of the next-token distributions, nats a token: low means that the policy says always the same",
    "policy_loss": "the clipped surrogate, mean over updates",
    "clip_fraction": "share of tokens at which clipping stopped the policy's change",
    "update_kl": "how far the policy moved within the batch, nats a token",
    "tokens": "in a completion, end token included, mean",
    "ended": "share of completions that came to their end token",
    "epochs": "passes over the batch; fewer than asked for where the KL stopped them",
    "gradient_norm": "before it was clipped, mean over updates",
}


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(LoopConfig):
    """How a policy learns from its own completions, beside what `LoopConfig` says.

    Attributes:
        batch_size: completions drawn before each round of updates; mini_batch_size: completions in one update.
        epochs: passes over each batch.
        max_update_kl: ends the passes over a batch once the policy has moved so far, nats a token; None never does.
        max_kl: ends the run once the KL to the reference is above it, nats a completion; None never does.
        cliprange: ε, how far a probability may move before it stops paying.
        entropy_coef: weight of the entropy in the loss.
    """

    whole: ClassVar[tuple[str, ...]] = (*LoopConfig.whole, "mini_batch_size", "epochs")
    not_negative: ClassVar[tuple[str, ...]] = ("kl_coef", "entropy_coef")
    positive: ClassVar[tuple[str, ...]] = (*LoopConfig.positive, "cliprange")
    positive_or_none: ClassVar[tuple[str, ...]] = (*LoopConfig.positive_or_none, "max_update_kl", "max_kl")

    batch_size: int = 128
    mini_batch_size: int = 32
    epochs: int = 2
    kl_coef: float = 0.2
    max_update_kl: float | None = 0.1
    max_kl: float | None = None
    cliprange: float = 0.2
    entropy_coef: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.mini_batch_size > self.batch_size:
            raise ValueError(f"mini_batch_size: {self.mini_batch_size} is more than the batch_size, {self.batch_size}")


def checked_scores(reward: Callable, prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:
    """(B,) the reward model's scores.

    Raises:
        AlignmentError: there is not one finite number a completion; the first such completion is shown.
    """
    scores = torch.as_tensor(reward(completions), dtype=torch.float32).cpu()
    if scores.shape != (len(completions),):
        raise AlignmentError(
            f"reward: gave the shape {tuple(scores.shape)} for {len(completions)} completions; it must give one "
            f"number each, shape ({len(completions)},)"
        )
    wrong = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if wrong:
        raise AlignmentError(
            f"reward: gave {scores[wrong[0]].item()} for the completion {completions[wrong[0]]!r} of the prompt "
            f"{prompts[wrong[0]][:60]!r}…; "
            "it must give a finite number"
        )
    return scores


def policy_parts(surrogate, scored, part: Rollout, mask: torch.Tensor, config: OnlineConfig):
    """(entropy with its gradient where it counts, the parts of the loss that all methods report, as numbers).

    Args:
        surrogate: a `helpers.alignment.ppo.Clipped`; scored: what the policy in training says of the completions.
        part: the completions as they were written; mask: (B, T) the tokens that are learned from.
    """
    if config.entropy_coef:
        entropies = token_entropy(scored.logits)
    else:  # one completion after the other: all at once would hold three more tables of (B, T, V)
        entropies = torch.stack([token_entropy(logits) for logits in scored.logits.detach()])
    entropy = masked_mean(entropies, mask)
    return entropy, {
        "policy_loss": surrogate.loss.item(),
        "entropy": entropy.item(),
        "clip_fraction": surrogate.clip_fraction.item(),
        "update_kl": approximate_kl(scored.logprobs.detach(), part.logprobs, mask).item(),
    }


def update_by(
    loss_of: Callable, policy: Policy, optimizer, config: OnlineConfig, orders: Sequence[torch.Tensor]
) -> dict[str, float]:
    """Learns from one batch, in mini-batches; stops early once the policy has moved further than `max_update_kl`.

    Args:
        loss_of: indices of completions in the batch -> (loss with its gradient, its parts as numbers).
        orders: for each pass, the order of the completions, (B,).
    Returns:
        the parts of the loss, means over the updates, and how many passes were made.
    """
    found, weights = [], list(policy.trained().values())
    for epoch, order in enumerate(orders, 1):  # noqa: B007 - used below the loop
        for rows in order.split(config.mini_batch_size):
            loss, parts = loss_of(rows)
            found.append(parts | {"gradient_norm": gradient_step(loss, optimizer, weights, config.max_grad_norm)})
        if config.max_update_kl is not None and parts["update_kl"] > config.max_update_kl:
            break
    return {name: sum(parts[name] for parts in found) / len(found) for name in found[0]} | {"epochs": epoch}


class OnlineTrainer(TrainingLoop):
    """Draws, judges and learns, one batch a step.

    Args:
        policy: changed in place; reward: texts -> one number each, the higher the better.
        prompts: drawn from without repetition until all were used, then anew: where there are fewer than a batch has
            completions, some prompts get several of them.
        folder: checkpoints of everything that the next step depends on, in a folder of this very run (its policy,
            prompts, settings and seed; the reward counts by its `name`); None keeps none.
    """

    shown = ("score", "kl", "entropy")
    metrics = METRICS

    def __init__(
        self,
        policy: Policy,
        tokenizer,
        reward: Callable,
        prompts: Sequence[str],
        config: OnlineConfig,
        seed: int,
        folder=None,
    ):
        if not len(prompts):
            raise AlignmentError(f"prompts: there are none; {self.name} needs at least one to draw completions for")
        self.tokenizer, self.reward, self.prompts = tokenizer, reward, list(prompts)
        facts = {"prompts": self.prompts, "reward": getattr(reward, "name", type(reward).__name__)}
        groups = self.weight_groups(policy, config)
        optimizer = torch.optim.Adam([{"params": weights, "lr": rate} for weights, rate in groups])
        self.rates = [rate for _, rate in groups]
        super().__init__(policy, config, seed, len(self.prompts), facts, optimizer, folder)

    @staticmethod
    def weight_groups(policy: Policy, config) -> list[tuple[list, float]]:
        """(weights, learning rate) of each group that the optimizer changes: here all but the value head."""
        names = policy.trained().items()
        return [([weight for name, weight in names if not name.startswith("value_head.")], config.learning_rate)]

    @abstractmethod
    def make_experience(self, rollout: Rollout, reference_logprobs: torch.Tensor, scores: torch.Tensor):
        """What updates need of a batch of completions that were drawn and judged; it has the fields rollout,
        reference_logprobs, scores and rewards.
        """

    @abstractmethod
    def loss(self, experience, rows: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """(loss with its gradient, its parts as numbers) of some of a batch's completions."""

    def batch_metrics(self, experience) -> dict[str, float]:
        """Metrics of a batch that only one method has."""
        return {}

    def draw(self) -> list[str]:
        """The prompts of the next batch."""
        return [self.prompts[index] for index in self.draw_rows(self.config.batch_size)]

    def experience(self, prompts: Sequence[str]):
        """(completions of the prompts, judged and compared with the reference model; their texts)."""
        ids, mask = encode_for_policy(self.tokenizer, prompts, self.policy.device)
        rollout = self.policy.sample(ids, mask, self.config.max_new_tokens, self.generator)
        texts = rollout.texts(self.tokenizer)
        scores = checked_scores(self.reward, prompts, texts).to(self.policy.device)
        return self.make_experience(rollout, self.policy.reference_logprobs(rollout), scores), texts

    def step(self) -> dict[str, float]:
        """One batch: drawn, judged, learned from. Returns the method's metrics as numbers."""
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = annealed(rate, self.config.anneal_steps, len(self.history))
        experience, _ = self.experience(self.draw())
        rollout = experience.rollout
        orders = [
            torch.randperm(len(rollout), generator=self.generator, device=self.policy.device)
            for _ in range(self.config.epochs)
        ]
        metrics = {
            "score": experience.scores.mean().item(),
            "reward": experience.rewards.sum(1).mean().item(),
            "kl": sequence_kl(rollout.logprobs, experience.reference_logprobs, rollout.mask).mean().item(),
            "kl_coef": self.kl_coef,
        }
        metrics |= update_by(lambda rows: self.loss(experience, rows), self.policy, self.optimizer, self.config, orders)
        metrics |= {
            "tokens": rollout.mask.sum(1).float().mean().item(),
            "ended": (rollout.decoder_ids == self.policy.backbone.config.eos_token_id).any(1).float().mean().item(),
        } | self.batch_metrics(experience)
        return {name: metrics[name] for name in self.metrics}

    def limit(self, metrics: Mapping) -> str:
        """A sentence once the KL is above `max_kl`."""
        if self.config.max_kl is None or metrics["kl"] <= self.config.max_kl:
            return ""
        return f"KL {metrics['kl']:.1f} nats above max_kl, {self.config.max_kl:g}, at step {len(self.history)}"
