"""Reinforcement by PPO: completions are drawn, judged and learned from, batch after batch; stopped runs resume.

The advantages of a batch of judged completions, the mini-batch steps on it, the loop around them, and checkpoints with
all that the next step depends on, in safetensors and JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from helpers.alignment.policy import Policy, Rollout, encode_for_policy
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
    total_loss,
    value_loss,
    whiten,
)
from helpers.progress import Sparing, progress
from helpers.run_records import claimed, fingerprint, latest_checkpoint, notes, seal

KEPT = 2  # checkpoints: the newest, and the one before in case the newest was not written to its end
MAY_BE_NONE = ("anneal_steps", "kl_target", "max_update_kl", "max_kl", "cliprange_value", "max_grad_norm")
logger = logging.getLogger(__name__)
METRICS = {
    "score": "what the reward model gave the completions, mean",
    "reward": "score minus the KL penalty, mean: what PPO maximises",
    "kl": "KL to the reference model, nats a completion, mean",
    "kl_coef": "β, the weight of that KL in the reward",
    "entropy": "of the next-token distributions, nats a token: low means that the policy says always the same",
    "policy_loss": "L_policy, the clipped surrogate, mean over updates",
    "value_loss": "L_VF, half the squared error of the value head, mean over updates",
    "clip_fraction": "share of tokens at which clipping stopped the policy's change",
    "update_kl": "how far the policy moved within the batch, nats a token",
    "explained_variance": "of the returns by the values: 1 is perfect, 0 no better than a constant",
    "tokens": "in a completion, end token included, mean",
    "ended": "share of completions that came to their end token",
    "epochs": "passes over the batch; fewer than asked for where the KL stopped them",
    "gradient_norm": "before it was clipped, mean over updates",
}


def _optimizer_tensors(optimizer):
    """ "optimizer.<number of the weight>.<slot>" -> tensor."""
    return {
        f"optimizer.{number}.{slot}": torch.as_tensor(value)
        for number, slots in optimizer.state_dict()["state"].items()
        for slot, value in slots.items()
    }


def save_checkpoint(trainer):
    """Writes everything; the seal, written last, says that the checkpoint is whole. Older ones but one are deleted."""
    step = len(trainer.history)
    target = trainer.folder / f"checkpoint-{step}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    tensors = {
        f"policy.{name}": weight.detach() for name, weight in trainer.policy.trained().items()
    } | _optimizer_tensors(trainer.optimizer)
    tensors["generator"] = trainer.generator.get_state()
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, target / "state.safetensors")
    seal(target, history=trainer.history, kl_coef=trainer.kl_coef, queue=trainer.queue, order=trainer.order.getstate())
    for old in sorted(trainer.folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))[KEPT:]:
        shutil.rmtree(old)


def resume(trainer) -> list[str]:
    """Puts the trainer where its newest whole checkpoint was; a sentence for each newer one that is not whole."""
    if trainer.folder is None or trainer.history:
        return []
    checkpoint, faults = latest_checkpoint(trainer.folder)
    if checkpoint is not None:
        tensors, kept = load_file(checkpoint / "state.safetensors"), notes(checkpoint)
        with torch.no_grad():
            for name, weight in trainer.policy.trained().items():
                weight.copy_(tensors[f"policy.{name}"])
        state = trainer.optimizer.state_dict()
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, slot = name.split(".")
                state["state"].setdefault(int(number), {})[slot] = tensor
        trainer.optimizer.load_state_dict(state)
        trainer.generator.set_state(tensors["generator"])
        version, numbers, gauss = kept["order"]
        trainer.order.setstate((version, tuple(numbers), gauss))
        trainer.history[:], trainer.kl_coef, trainer.queue = kept["history"], kept["kl_coef"], kept["queue"]
    return faults


class PPOError(RuntimeError):
    """A run that cannot go on; the message says what was found and what to change."""


@dataclass(frozen=True)
class PPOConfig:
    """How PPO learns. Checked when made: a ValueError names the field and the value.

    The defaults were found on the `pocket` profile: many completions a batch, a low rate that falls to 0, and λ = 1,
    because the value head of so small a model predicts the reward of a completion badly before its end.

    Attributes:
        batch_size: completions drawn before each round of updates; mini_batch_size: completions in one update.
        epochs: passes over each batch.
        learning_rate: of Adam, for the policy; value_learning_rate: for the value head; anneal_steps: over so many
            batches both fall to 0, linearly; None keeps them constant.
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
    kl_coef: float = 0.2
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
            if not ((value is None and name in MAY_BE_NONE) or (value is not None and 0 < value < math.inf)):
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
    logprobs, values, logits = policy(part.prompt_ids, part.prompt_mask, part.decoder_ids, part.states)
    surrogate = policy_loss(logprobs, part.logprobs, advantages, mask, config.cliprange)
    critic = value_loss(values, part.values, returns, mask, config.cliprange_value or math.inf)
    entropy = masked_mean(token_entropy(logits if config.entropy_coef else logits.detach()), mask)
    loss = total_loss(surrogate.loss, critic.loss, entropy, config.vf_coef, config.entropy_coef)
    if not torch.isfinite(loss):
        raise PPOError(
            f"loss: {loss.item()} (policy {surrogate.loss.item()}, value {critic.loss.item()}); lower the "
            f"learning rate, now {config.learning_rate:g}"
        )
    return loss, {
        "policy_loss": surrogate.loss.item(),
        "value_loss": critic.loss.item(),
        "entropy": entropy.item(),
        "clip_fraction": surrogate.clip_fraction.item(),
        "update_kl": approximate_kl(logprobs.detach(), part.logprobs, mask).item(),
    }


def update(
    policy: Policy, optimizer, experience: Experience, config: PPOConfig, orders: Sequence[torch.Tensor]
) -> dict[str, float]:
    """Learns from one batch, in mini-batches; stops early once the policy has moved further than `max_update_kl`.

    Args:
        orders: for each pass, the order of the completions, (B,).
    Returns:
        the parts of the loss, means over the updates, and how many passes were made.
    """
    found, weights = [], list(policy.trained().values())
    for epoch, order in enumerate(orders, 1):  # noqa: B007 - used below the loop
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


def checked_scores(reward: Callable, prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:
    """(B,) the reward model's scores.

    Raises:
        PPOError: there is not one finite number a completion; the first such completion is shown.
    """
    scores = torch.as_tensor(reward(completions), dtype=torch.float32).cpu()
    if scores.shape != (len(completions),):
        raise PPOError(
            f"reward: gave the shape {tuple(scores.shape)} for {len(completions)} completions; it must give one "
            f"number each, shape ({len(completions)},)"
        )
    wrong = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if wrong:
        raise PPOError(
            f"reward: gave {scores[wrong[0]].item()} for the completion {completions[wrong[0]]!r} of the prompt "
            f"{prompts[wrong[0]][:60]!r}…; "
            "it must give a finite number"
        )
    return scores


@dataclass
class Reinforced:
    """A finished or stopped run: the policy, one dict of `METRICS` a step, and why it ended before its last step, if it
    did.
    """

    policy: Policy
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""


class PPOTrainer:
    """Draws, judges and learns, one batch a step.

    Args:
        policy: changed in place; reward: texts -> one number each, the higher the better.
        prompts: drawn from without repetition until all were used, then anew: where there are fewer than a batch has
            completions, some prompts get several of them.
        folder: checkpoints of everything that the next step depends on, in a folder of this very run (its policy,
            prompts, settings and seed; the reward counts by its `name`); None keeps none.
    """

    def __init__(
        self,
        policy: Policy,
        tokenizer,
        reward: Callable,
        prompts: Sequence[str],
        config: PPOConfig,
        seed: int,
        folder=None,
    ):
        if not len(prompts):
            raise PPOError("prompts: there are none; PPO needs at least one to draw completions for")
        self.policy, self.tokenizer, self.reward, self.prompts, self.config = (
            policy,
            tokenizer,
            reward,
            list(prompts),
            config,
        )
        self.folder = None if folder is None else Path(folder) / f"ppo-{self._identity(seed)}"
        head = list(policy.value_head.parameters())
        rest = [weight for name, weight in policy.trained().items() if not name.startswith("value_head.")]
        self.optimizer = torch.optim.Adam(
            [{"params": rest, "lr": config.learning_rate}, {"params": head, "lr": config.value_learning_rate}]
        )
        self.generator = torch.Generator(policy.device).manual_seed(seed)
        self.order, self.kl_coef, self.queue, self.history = random.Random(f"ppo|{seed}"), config.kl_coef, [], []

    def _identity(self, seed):
        """Ten characters that change with everything that decides the result, except the number of steps."""
        facts = {
            "config": asdict(self.config),
            "seed": seed,
            "policy": fingerprint(self.policy),
            "prompts": self.prompts,
            "reward": getattr(self.reward, "name", type(self.reward).__name__),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    def draw(self) -> list[str]:
        """The prompts of the next batch."""
        chosen = []
        while len(chosen) < self.config.batch_size:
            if not self.queue:
                self.queue = self.order.sample(range(len(self.prompts)), len(self.prompts))
            chosen.append(self.queue.pop())
        return [self.prompts[index] for index in chosen]

    def experience(self, prompts: Sequence[str]) -> tuple[Experience, list[str]]:
        """Completions of the prompts, judged and compared with the reference model, and their texts."""
        ids, mask = encode_for_policy(self.tokenizer, prompts, self.policy.device)
        rollout = self.policy.sample(ids, mask, self.config.max_new_tokens, self.generator)
        texts = rollout.texts(self.tokenizer)
        scores = checked_scores(self.reward, prompts, texts).to(self.policy.device)
        return make_experience(
            rollout, self.policy.reference_logprobs(rollout), scores, self.config, self.kl_coef
        ), texts

    def step(self) -> dict[str, float]:
        """One batch: drawn, judged, learned from. Returns `METRICS` as numbers."""
        for group, rate in zip(
            self.optimizer.param_groups, (self.config.learning_rate, self.config.value_learning_rate)
        ):
            group["lr"] = annealed(rate, self.config.anneal_steps, len(self.history))
        experience, _ = self.experience(self.draw())
        rollout = experience.rollout
        kl = sequence_kl(rollout.logprobs, experience.reference_logprobs, rollout.mask).mean().item()
        orders = [
            torch.randperm(len(rollout), generator=self.generator, device=self.policy.device)
            for _ in range(self.config.epochs)
        ]
        metrics = {
            "score": experience.scores.mean().item(),
            "reward": experience.rewards.sum(1).mean().item(),
            "kl": kl,
            "kl_coef": self.kl_coef,
        }
        metrics |= update(self.policy, self.optimizer, experience, self.config, orders)
        residual, spread = (experience.returns - rollout.values)[rollout.mask], experience.returns[rollout.mask]
        metrics |= {
            "explained_variance": 1 - (residual.var() / spread.var().clamp(min=1e-8)).item(),
            "tokens": rollout.mask.sum(1).float().mean().item(),
            "ended": (rollout.decoder_ids == self.policy.backbone.config.eos_token_id).any(1).float().mean().item(),
        }
        if self.config.kl_target is not None:
            self.kl_coef = adapted_kl_coef(self.kl_coef, kl, self.config.kl_target, len(rollout))
        return {name: metrics[name] for name in METRICS}

    def run(
        self, steps: int, listener: Callable | None = None, save_every: int = 5, show_progress: bool = True
    ) -> Reinforced:
        """Goes on to `steps` steps in all, from the last whole checkpoint if there is one.

        Args:
            listener: called with the history, a list of dicts of `METRICS`, after a step, and at the end; where it is
                slow, not after every step, so that it takes little of the time (`helpers.progress.Sparing`).
        Raises:
            PPOError: the loss or a score is not a number. KeyboardInterrupt: on Ctrl-C; the same call goes on from the
                last checkpoint.
        """
        stopped, told = "", Sparing(listener)
        alone = nullcontext() if self.folder is None else claimed(self.folder)
        with alone, progress(total=steps, desc="ppo", unit="step", disable=not show_progress) as bar:
            for sentence in resume(self):
                logger.warning(sentence)
                bar.write(sentence)
            bar.update(len(self.history))
            bar.refresh()  # a loaded run shows all its steps
            while len(self.history) < steps and not stopped:
                self.history.append(metrics := self.step())
                bar.update(1)
                bar.set_postfix({name: f"{metrics[name]:.3f}" for name in ("score", "kl", "entropy")}, refresh=False)
                told(self.history)
                if self.config.max_kl is not None and metrics["kl"] > self.config.max_kl:
                    stopped = (
                        f"KL {metrics['kl']:.1f} nats above max_kl, {self.config.max_kl:g}, at step {len(self.history)}"
                    )
                if self.folder is not None and (
                    len(self.history) % save_every == 0 or len(self.history) == steps or stopped
                ):
                    save_checkpoint(self)
            told.finish()
        return Reinforced(self.policy, self.history, stopped)
