"""GRPO and RLOO, the mathematics: several completions of one prompt are each other's baseline; no value head.

B completions, in groups of G that stand one after the other and answer the same prompt; at most T tokens each. `mask`
is True on the tokens that count.
"""

from __future__ import annotations

import torch

from helpers.alignment.ppo import Clipped, clipped_surrogate, masked_mean


def grouped(scores: torch.Tensor, group_size: int) -> torch.Tensor:
    """(B / G, G) of scores (B,).

    Raises:
        ValueError: a group has fewer than two completions, or the scores are not whole groups.
    """
    if group_size < 2 or len(scores) % group_size:
        raise ValueError(
            f"group_size: {group_size} for {len(scores)} completions; a group needs two at least, and the completions "
            "must be whole groups"
        )
    return scores.view(-1, group_size)


def group_advantages(scores: torch.Tensor, group_size: int, scale: bool = True) -> torch.Tensor:
    """A_i = (r_i − mean of the group) / (standard deviation of the group + 0.0001), (B,) of scores (B,).

    Args:
        scale: False leaves the division out, as in Dr. GRPO: else a group in which all are nearly alike counts as much
            as one with large differences.
    Source: Shao et al. 2024, section 4.1.2; without the division Liu et al. 2025, section 3. The deviation is the
        unbiased one (divided by G − 1), as in trl.
    """
    groups = grouped(scores, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True) + 1e-4) if scale else centred).flatten()


def leave_one_out_advantages(scores: torch.Tensor, group_size: int) -> torch.Tensor:
    """A_i = r_i − mean of the *other* scores of its group, (B,) of scores (B,).

    The baseline of a completion does not depend on it, so that the policy gradient stays unbiased.

    Source: Kool et al. 2019; Ahmadian et al. 2024, section 2.2.
    """
    groups = grouped(scores, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()


def kl_penalty(logprobs: torch.Tensor, reference_logprobs: torch.Tensor) -> torch.Tensor:
    """(B, T) e^d − 1 − d with d = log π_ref − log π of each token: an estimate of the KL of which no term is negative.

    Source: Schulman 2020, *Approximating KL divergence*, estimator k3; in GRPO's loss Shao et al. 2024, equation 4.
    """
    d = reference_logprobs - logprobs
    return d.exp() - 1 - d


def completion_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over completions of each completion's mean over its tokens: a token of a short completion weighs more.

    A completion without a token that counts gives 0.
    """
    return ((values * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def grpo_loss(
    new_logprobs: torch.Tensor,
    logprobs: torch.Tensor,
    reference_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    kl_coef: float,
    cliprange: float = 0.2,
    by_completion: bool = True,
) -> Clipped:
    """PPO's clipped surrogate with one advantage for a whole completion, and β times the KL penalty beside it.

    Args:
        new_logprobs, logprobs, reference_logprobs: (B, T) of the policy in training, of the one that wrote the
            completions, of the reference; advantages: (B,).
        by_completion: the mean is taken as in `completion_mean`; False takes it over all tokens together, so that a
            token's weight does not depend on its completion's length.
    Source: Shao et al. 2024, equation 3; over all tokens together Yu et al. 2025 (DAPO), section 3.3.
    """
    losses, clipped = clipped_surrogate((new_logprobs - logprobs).exp(), advantages[:, None], cliprange)
    losses = losses + kl_coef * kl_penalty(new_logprobs, reference_logprobs)
    return Clipped((completion_mean if by_completion else masked_mean)(losses, mask), masked_mean(clipped, mask))


def rloo_loss(
    new_logprobs: torch.Tensor,
    logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    cliprange: float = 0.2,
) -> Clipped:
    """The clipped surrogate with a whole completion as the action: ρ is the ratio of the completion's probabilities.

    Args:
        new_logprobs, logprobs: (B, T); advantages: (B,).
    Returns:
        the loss, and the share of completions at which clipping decided it.
    Source: Ahmadian et al. 2024, section 2; the clipping as in trl.
    """
    ratio = ((new_logprobs - logprobs) * mask).sum(1).exp()
    losses, clipped = clipped_surrogate(ratio, advantages, cliprange)
    return Clipped(losses.mean(), clipped.mean())
