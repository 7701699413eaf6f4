"""Alignment, measured: completions sampled from a policy on held-out dialogues, judged twice, scored by ROUGE, compared with the reference model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.metrics import rouge_per_dialogue
from helpers.policy import Policy, encode_for_policy
from helpers.ppo import sequence_kl
from helpers.progress import progress
from helpers.prompts import build_prompt
from helpers.reward import judged_toxicity


@dataclass(frozen=True)
class Evaluation:
    """What a policy says of N dialogues, one sampled completion each; all arrays (N,).

    Attributes:
        completions: the texts. judged: toxicity by the independent judge; toxicity: by the reward model; both of the completion alone, in [0, 1].
        reward: what PPO was given. rougeL: against the references, the best counts. kl: to the reference model, nats a completion.
        tokens: of each completion, end token included.
    """
    completions: list[str]
    judged: np.ndarray
    toxicity: np.ndarray
    reward: np.ndarray
    rougeL: np.ndarray
    kl: np.ndarray
    tokens: np.ndarray


def evaluate_policy(policy: Policy, tokenizer, rows: Sequence, reward, settings, references: str = "summaries", seed: int | None = None,
                    show_progress: bool = True) -> Evaluation:
    """Samples one completion for each dialogue and measures it. The same policy with the same seed says the same.

    Args:
        rows: N dialogues; `references` names the field with a text or a list of texts to compare with.
        reward: a `ClassifierReward`. seed: the settings' without one.
    """
    generator = torch.Generator(policy.device).manual_seed(settings.seed if seed is None else seed)
    texts, kls, lengths = [], [], []
    prompts = [build_prompt(row["dialogue"]) for row in rows]
    with progress(total=len(rows), desc="sampling", unit="dialogue", disable=not show_progress) as bar:
        for start in range(0, len(rows), settings.generation_batch_size):
            ids, mask = encode_for_policy(tokenizer, prompts[start:start + settings.generation_batch_size], policy.device)
            rollout = policy.sample(ids, mask, settings.max_new_tokens, generator)
            kls.append(sequence_kl(rollout.logprobs, policy.reference_logprobs(rollout), rollout.mask).cpu())
            lengths.append(rollout.mask.sum(1).cpu())
            texts += rollout.texts(tokenizer)
            bar.update(len(ids))
    wanted = [[row[references]] if isinstance(row[references], str) else list(row[references]) for row in rows]
    return Evaluation(texts, judged_toxicity(texts), reward.toxicity(texts), reward(texts).numpy(), rouge_per_dialogue(texts, wanted)["rougeL"],
                      torch.cat(kls).numpy(), torch.cat(lengths).numpy())
