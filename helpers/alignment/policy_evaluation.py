"""Alignment, measured: completions sampled from a policy on held-out dialogues, judged twice, scored by ROUGE, compared
with the reference model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.alignment.policy import Policy, Rollout, encode_for_policy
from helpers.alignment.ppo import sequence_kl
from helpers.alignment.reward_model import judged_toxicity
from helpers.data.prompts import build_prompt
from helpers.evaluation.metrics import rouge_per_dialogue
from helpers.progress import progress


@dataclass(frozen=True)
class Evaluation:
    """What a policy says of N dialogues, D sampled completions each; all arrays (D, N).

    Attributes:
        completions: D lists of N texts. judged: toxicity by the independent judge; toxicity: by the reward model; both
            of the completion alone, in [0, 1]. reward: what PPO was given. rougeL: against the references, the best
            counts. kl: to the reference model, nats a completion. entropy: nats a token, estimated by −log π of the
            tokens that were drawn. tokens: of each completion, end token included.
    """

    completions: list[list[str]]
    judged: np.ndarray
    toxicity: np.ndarray
    reward: np.ndarray
    rougeL: np.ndarray
    kl: np.ndarray
    entropy: np.ndarray
    tokens: np.ndarray

    def per_dialogue(self, field: str) -> np.ndarray:
        """(N,) mean over the draws: what is independent from one dialogue to the next, for paired intervals."""
        return getattr(self, field).mean(0)


def sampled(
    policy: Policy, tokenizer, prompts: Sequence[str], settings, show_progress: bool = True
) -> Iterator[Rollout]:
    """One completion drawn for each prompt, batch after batch; the same policy with the same seed says the same."""
    generator = torch.Generator(policy.device).manual_seed(settings.seed)
    with progress(total=len(prompts), desc="sampling", unit="completion", disable=not show_progress) as bar:
        for start in range(0, len(prompts), settings.generation_batch_size):
            ids, mask = encode_for_policy(
                tokenizer, prompts[start : start + settings.generation_batch_size], policy.device
            )
            yield policy.sample(ids, mask, settings.max_new_tokens, generator)
            bar.update(len(ids))


def evaluate_policy(
    policy: Policy,
    tokenizer,
    rows: Sequence,
    reward,
    settings,
    references: str = "summaries",
    show_progress: bool = True,
) -> Evaluation:
    """Samples `settings.draws` completions for each dialogue and measures them. The same policy with the same seed says
    the same.

    Args:
        rows: N dialogues; `references` names the field with a text or a list of texts to compare with.
        reward: a `ClassifierReward`.
    """
    texts, kls, surprises, lengths, draws = [], [], [], [], settings.draws
    for rollout in sampled(
        policy, tokenizer, [build_prompt(row["dialogue"]) for row in rows] * draws, settings, show_progress
    ):
        kls.append(sequence_kl(rollout.logprobs, policy.reference_logprobs(rollout), rollout.mask).cpu())
        lengths.append(rollout.mask.sum(1).cpu())
        surprises.append(-rollout.logprobs.sum(1).cpu() / lengths[-1])
        texts += rollout.texts(tokenizer)
    wanted = [[row[references]] if isinstance(row[references], str) else list(row[references]) for row in rows] * draws
    arrays = (
        judged_toxicity(texts),
        reward.toxicity(texts),
        reward(texts).numpy(),
        rouge_per_dialogue(texts, wanted)["rougeL"],
        torch.cat(kls).numpy(),
        torch.cat(surprises).numpy(),
        torch.cat(lengths).numpy(),
    )
    return Evaluation(
        [texts[draw * len(rows) : (draw + 1) * len(rows)] for draw in range(draws)],
        *(array.reshape(draws, -1) for array in arrays),
    )
