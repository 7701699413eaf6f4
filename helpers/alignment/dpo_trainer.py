"""DPO for encoder-decoder models: a policy learns from pairs of completions; no reward model, nothing is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from helpers.alignment.dpo import dpo_loss, implicit_reward
from helpers.alignment.policy import Policy, Rollout, encode_for_policy
from helpers.alignment.ppo import annealed
from helpers.alignment.training_loop import (
    AlignmentError,
    LoopConfig,
    TrainingLoop,
    checked_loss,
    gradient_step,
)

METRICS = {
    "loss": "−log σ(r_better − r_worse), mean over the batch; log 2 before any training",
    "accuracy": "share of the pairs whose better completion has the higher implicit reward",
    "better": "implicit reward of the better completions, mean; above 0 they have become likelier",
    "worse": "implicit reward of the worse completions, mean",
    "margin": "better minus worse",
    "gradient_norm": "before it was clipped",
}


@dataclass(frozen=True, kw_only=True)
class DPOConfig(LoopConfig):
    """How DPO learns, beside what `LoopConfig` says; of a completion longer than `max_new_tokens` the beginning counts.

    The default of β was chosen on validation dialogues of the `pocket` profile (`sweeps/preference_optimization.py`).

    Attributes:
        batch_size: pairs in one update.
        kl_coef: β, above 0: the smaller, the further a policy may leave the reference for a preference.
    """

    positive: ClassVar[tuple[str, ...]] = (*LoopConfig.positive, "kl_coef")

    batch_size: int = 16
    kl_coef: float = 0.1


def encode_preferences(
    policy: Policy, tokenizer, pairs: Sequence[tuple[str, str, str]], max_new_tokens: int = 96
) -> Rollout:
    """Pairs as the completions that a policy scores: first all N better ones, then all N worse ones, (2N, …).

    Args:
        pairs: (prompt, better completion, worse completion), N at least 1.
        max_new_tokens: a longer completion is cut, and has no end token then.
    Returns:
        a `Rollout` without log-probabilities and values (both are 0) and without states.
    Raises:
        AlignmentError: no pairs; GenerationError: a prompt is empty or too long.
    """
    if not len(pairs):
        raise AlignmentError("pairs: there are none; DPO needs at least one (prompt, better, worse)")
    prompts, better, worse = zip(*pairs)
    ids, mask = encode_for_policy(tokenizer, prompts, policy.device)
    start, pad = policy.backbone.config.decoder_start_token_id, tokenizer.pad_token_id
    written = tokenizer([*better, *worse])["input_ids"]  # each with its end token
    rows = [[*row[:-1][:max_new_tokens], *([row[-1]] if len(row) <= max_new_tokens else [])] for row in written]
    width = max(map(len, rows))
    decoder_ids = torch.tensor([[start, *row, *[pad] * (width - len(row))] for row in rows], device=policy.device)
    own = torch.tensor([[place < len(row) for place in range(width)] for row in rows], device=policy.device)
    unknown = torch.zeros(len(rows), width, device=policy.device)
    return Rollout(ids.repeat(2, 1), mask.repeat(2, 1), decoder_ids, own, unknown, unknown)


def pair_rows(rows, count: int) -> torch.Tensor:
    """Indices of both completions of some of `count` pairs: the better ones, then the worse ones."""
    rows = torch.as_tensor(rows)
    return torch.cat([rows, rows + count])


@torch.no_grad()
def implicit_rewards(policy: Policy, pairs: Rollout, kl_coef: float, batch_size: int = 32) -> np.ndarray:
    """(N, 2) implicit rewards of the better and the worse completion of each of N pairs: the policy as reward model."""
    count, found = len(pairs) // 2, []
    for rows in torch.arange(count).split(batch_size):
        part = pairs.rows(pair_rows(rows, count))
        logprobs = policy(part.prompt_ids, part.prompt_mask, part.decoder_ids).logprobs
        rewards = implicit_reward(logprobs, policy.reference_logprobs(part), part.mask, kl_coef)
        found.append(rewards.view(2, -1).T.cpu())
    return torch.cat(found).numpy()


class DPOTrainer(TrainingLoop):
    """Updates on batches of pairs, one a step.

    Args:
        policy: changed in place; its reference is the same model without the adapter.
        pairs: (prompt, better, worse), drawn without repetition until all were used, then anew.
        folder: checkpoints of everything that the next step depends on, in a folder of this very run; None keeps none.
    Raises:
        AlignmentError: no pairs, or fewer than a batch has.
    """

    name = "dpo"
    shown = ("loss", "accuracy", "margin")
    metrics = METRICS

    def __init__(
        self,
        policy: Policy,
        tokenizer,
        pairs: Sequence[tuple[str, str, str]],
        config: DPOConfig,
        seed: int,
        folder=None,
    ):
        self.pairs = encode_preferences(policy, tokenizer, pairs, config.max_new_tokens)
        if len(pairs) < config.batch_size:
            raise AlignmentError(
                f"pairs: there are {len(pairs)}, fewer than the batch_size, {config.batch_size}; give more pairs or "
                "lower the batch_size"
            )
        self.weights = [weight for name, weight in policy.trained().items() if not name.startswith("value_head.")]
        optimizer = torch.optim.Adam(self.weights, lr=config.learning_rate)
        super().__init__(policy, config, seed, len(pairs), {"pairs": [list(pair) for pair in pairs]}, optimizer, folder)
        self.reference = self._reference_logprobs()

    def _reference_logprobs(self):
        """(2N, T) of the reference: it does not change, so that each pair is scored once."""
        found = torch.zeros_like(self.pairs.logprobs)
        for rows in torch.arange(len(found)).split(2 * self.config.batch_size):
            part = self.pairs.rows(rows)
            found[rows, : part.mask.shape[1]] = self.policy.reference_logprobs(part)
        return found

    def step(self) -> dict[str, float]:
        """One update. Returns `METRICS` as numbers."""
        config, count = self.config, len(self.pairs) // 2
        self.optimizer.param_groups[0]["lr"] = annealed(config.learning_rate, config.anneal_steps, len(self.history))
        rows = pair_rows(self.draw_rows(config.batch_size), count)
        part = self.pairs.rows(rows)
        reference = self.reference[rows][:, : part.mask.shape[1]]
        loss, better, worse = dpo_loss(self._logprobs(part), reference, part.mask, config.kl_coef)
        checked_loss(loss, config.learning_rate)
        norm = gradient_step(loss, self.optimizer, self.weights, config.max_grad_norm)
        return {
            "loss": loss.item(),
            "accuracy": (better > worse).float().mean().item(),
            "better": better.mean().item(),
            "worse": worse.mean().item(),
            "margin": (better - worse).mean().item(),
            "gradient_norm": norm,
        }

    def _logprobs(self, part):
        """(2N, T) of the policy; where the encoder does not learn, a prompt is encoded once for both completions."""
        states = None
        if self.policy.encoder_is_fixed:
            half = len(part) // 2
            encoder = self.policy.backbone.get_encoder()
            states = encoder(
                input_ids=part.prompt_ids[:half], attention_mask=part.prompt_mask[:half]
            ).last_hidden_state.repeat(2, 1, 1)
        return self.policy(part.prompt_ids, part.prompt_mask, part.decoder_ids, states).logprobs
