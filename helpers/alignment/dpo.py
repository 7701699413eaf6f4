"""Direct preference optimisation, the mathematics: a policy is its own reward model, and learns from pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch

from helpers.alignment.ppo import sequence_kl
from helpers.alignment.reward_model import pairwise_loss


def implicit_reward(
    logprobs: torch.Tensor, reference_logprobs: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """(B,) β·(log π(y|x) − log π_ref(y|x)) of each completion y: the reward for which this policy would be the best.

    It holds up to a number that depends on the prompt alone, and that falls out of differences.

    Args:
        logprobs, reference_logprobs, mask: (B, T) of the completion's tokens; kl_coef: β.
    Source: Rafailov et al. 2023, equation 5.
    """
    return kl_coef * sequence_kl(logprobs, reference_logprobs, mask)


class Preference(NamedTuple):
    """DPO's loss of some pairs, and the implicit rewards (B,) of their better and worse completions."""

    loss: torch.Tensor
    better: torch.Tensor
    worse: torch.Tensor


def dpo_loss(
    logprobs: torch.Tensor, reference_logprobs: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> Preference:
    """The reward model's pairwise loss, with the implicit reward in the place of a model's: −log σ(r_better − r_worse).

    Args:
        logprobs, reference_logprobs, mask: (2N, T); first the better completions of N pairs, then the worse ones, in
            the same order. kl_coef: β.
    Source: Rafailov et al. 2023, equation 7.
    """
    better, worse = implicit_reward(logprobs, reference_logprobs, mask, kl_coef).chunk(2)
    return Preference(pairwise_loss(better, worse), better, worse)
