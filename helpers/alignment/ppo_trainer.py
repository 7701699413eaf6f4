"""Reinforcement by PPO: completions are drawn, judged and learned from, batch after batch; stopped runs resume."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from helpers.alignment.policy import Policy, encode_for_policy
from helpers.alignment.ppo import adapted_kl_coef, annealed, sequence_kl
from helpers.alignment.ppo_checkpoints import resume, save_checkpoint
from helpers.alignment.ppo_updates import Experience, PPOConfig, PPOError, make_experience, update
from helpers.progress import Sparing, progress
from helpers.runs import fingerprint

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


def checked_scores(reward: Callable, prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:
    """(B,) the reward model's scores.

    Raises:
        PPOError: there is not one finite number a completion; the first such completion is shown.
    """
    scores = torch.as_tensor(reward(completions), dtype=torch.float32).cpu()
    if scores.shape != (len(completions),):
        raise PPOError(f"reward: gave the shape {tuple(scores.shape)} for {len(completions)} completions; it must give one number each, shape ({len(completions)},)")
    wrong = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if wrong:
        raise PPOError(f"reward: gave {scores[wrong[0]].item()} for the completion {completions[wrong[0]]!r} of the prompt {prompts[wrong[0]][:60]!r}…; "
                       "it must give a finite number")
    return scores


@dataclass
class Reinforced:
    """A finished or stopped run: the policy, one dict of `METRICS` a step, and why it ended before its last step, if it did."""
    policy: Policy
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""


class PPOTrainer:
    """Draws, judges and learns, one batch a step.

    Args:
        policy: changed in place; reward: texts -> one number each, the higher the better.
        prompts: drawn from without repetition until all were used, then anew.
        folder: checkpoints of everything that the next step depends on, in a folder of this very run (its policy, prompts, settings
            and seed; the reward counts by its `name`); None keeps none.
    """

    def __init__(self, policy: Policy, tokenizer, reward: Callable, prompts: Sequence[str], config: PPOConfig, seed: int, folder=None):
        if len(prompts) < config.batch_size:
            raise PPOError(f"prompts: there are {len(prompts)}, fewer than the batch_size, {config.batch_size}")
        self.policy, self.tokenizer, self.reward, self.prompts, self.config = policy, tokenizer, reward, list(prompts), config
        self.folder = None if folder is None else Path(folder) / f"ppo-{self._identity(seed)}"
        head = list(policy.value_head.parameters())
        rest = [weight for name, weight in policy.trained().items() if not name.startswith("value_head.")]
        self.optimizer = torch.optim.Adam([{"params": rest, "lr": config.learning_rate}, {"params": head, "lr": config.value_learning_rate}])
        self.generator = torch.Generator(policy.device).manual_seed(seed)
        self.order, self.kl_coef, self.queue, self.history = random.Random(f"ppo|{seed}"), config.kl_coef, [], []

    def _identity(self, seed):
        """Ten characters that change with whatever decides the result, the number of steps aside."""
        facts = {"config": asdict(self.config), "seed": seed, "policy": fingerprint(self.policy), "prompts": self.prompts,
                 "reward": getattr(self.reward, "name", type(self.reward).__name__)}
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
        return make_experience(rollout, self.policy.reference_logprobs(rollout), scores, self.config, self.kl_coef), texts

    def step(self) -> dict[str, float]:
        """One batch: drawn, judged, learned from. Returns `METRICS` as numbers."""
        for group, rate in zip(self.optimizer.param_groups, (self.config.learning_rate, self.config.value_learning_rate)):
            group["lr"] = annealed(rate, self.config.anneal_steps, len(self.history))
        experience, _ = self.experience(self.draw())
        rollout = experience.rollout
        kl = sequence_kl(rollout.logprobs, experience.reference_logprobs, rollout.mask).mean().item()
        orders = [torch.randperm(len(rollout), generator=self.generator, device=self.policy.device) for _ in range(self.config.epochs)]
        metrics = {"score": experience.scores.mean().item(), "reward": experience.rewards.sum(1).mean().item(), "kl": kl, "kl_coef": self.kl_coef}
        metrics |= update(self.policy, self.optimizer, experience, self.config, orders)
        residual, spread = (experience.returns - rollout.values)[rollout.mask], experience.returns[rollout.mask]
        metrics |= {"explained_variance": 1 - (residual.var() / spread.var().clamp(min=1e-8)).item(), "tokens": rollout.mask.sum(1).float().mean().item(),
                    "ended": (rollout.decoder_ids == self.policy.backbone.config.eos_token_id).any(1).float().mean().item()}
        if self.config.kl_target is not None:
            self.kl_coef = adapted_kl_coef(self.kl_coef, kl, self.config.kl_target, len(rollout))
        return {name: metrics[name] for name in METRICS}

    def run(self, steps: int, listener: Callable | None = None, save_every: int = 5, show_progress: bool = True) -> Reinforced:
        """Goes on to `steps` steps in all, from the last whole checkpoint if there is one.

        Args:
            listener: called with the history, a list of dicts of `METRICS`, after a step, and at the end; where it is slow, not after
                every step, so that it takes little of the time (`helpers.progress.Sparing`).
        Raises:
            PPOError: the loss or a score is not a number. KeyboardInterrupt: on Ctrl-C; the same call goes on from the last checkpoint.
        """
        stopped, told = "", Sparing(listener)
        with progress(total=steps, desc="ppo", unit="step", disable=not show_progress) as bar:
            for sentence in resume(self):
                logger.warning(sentence)
                bar.write(sentence)
            bar.update(len(self.history))
            bar.refresh()       # a loaded run shows all its steps
            while len(self.history) < steps and not stopped:
                self.history.append(metrics := self.step())
                bar.update(1)
                bar.set_postfix({name: f"{metrics[name]:.3f}" for name in ("score", "kl", "entropy")}, refresh=False)
                told(self.history)
                if self.config.max_kl is not None and metrics["kl"] > self.config.max_kl:
                    stopped = f"KL {metrics['kl']:.1f} nats above max_kl, {self.config.max_kl:g}, at step {len(self.history)}"
                if self.folder is not None and (len(self.history) % save_every == 0 or len(self.history) == steps or stopped):
                    save_checkpoint(self)
            told.finish()
        return Reinforced(self.policy, self.history, stopped)
