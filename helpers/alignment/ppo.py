"""Proximal policy optimisation, the mathematics: rewards, advantages and losses as pure functions of tensors; no model
here.

B completions of at most T tokens. `mask` is True on the tokens that count: a completion's own, its end token included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens that count; 0 where none does."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def token_logprobs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log π(token | what stands before it), (B, T), of logits (B, T, V) and the tokens (B, T) that were chosen."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)


def token_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of each next-token distribution in nats, (B, T), of logits (B, T, V)."""
    logprobs = logits.log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def penalised_rewards(
    scores: torch.Tensor, logprobs: torch.Tensor, reference_logprobs: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """The reward of each token: a penalty for leaving the reference model, and at the last token the completion's
    score.

    r_t = −β·(log π(a_t|s_t) − log π_ref(a_t|s_t)), plus the score where t is the last token.

    Args:
        scores: (B,), what the reward model says of each whole completion; logprobs, reference_logprobs, mask: (B, T).
        kl_coef: β.
    Returns:
        (B, T), zero where the mask is False. A completion without a token that counts gets nothing.
    Source: Ziegler et al. 2019, eq. 2, per token.
    """
    rewards = -kl_coef * (logprobs - reference_logprobs) * mask
    last = mask.cumsum(1) * mask == mask.sum(1, keepdim=True)
    return rewards + scores[:, None] * (last & mask.bool())


class Advantages(NamedTuple):
    """How much better each token was than expected, and what the value head should have said; both (B, T)."""

    advantages: torch.Tensor
    returns: torch.Tensor


def generalised_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float = 1.0, lam: float = 0.95
) -> Advantages:
    """Generalised advantage estimation: A_t = Σ (γλ)^l δ_{t+l} with δ_t = r_t + γ·V_{t+1} − V_t.

    Args:
        rewards, values, mask: (B, T); the value of a state before its token. After a completion's last token the value
            is 0.
        gamma: discount; lam: λ, 0 for one step ahead only, 1 for all that followed.
    Returns:
        zero where the mask is False; returns = advantages + values.
    Source: Schulman et al. 2016, eq. 16.
    """
    rewards, values = rewards * mask, values * mask
    advantages, running, following = (
        torch.zeros_like(rewards),
        torch.zeros_like(rewards[:, 0]),
        torch.zeros_like(rewards[:, 0]),
    )
    for t in reversed(range(rewards.shape[1])):
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        following = values[:, t]
        advantages[:, t] = running
    return Advantages(advantages * mask, (advantages + values) * mask)


def whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The values that count, shifted to mean 0 and scaled to variance 1 over all of them together; zero elsewhere.

    Equal values, or a single one, become 0. The variance is the unbiased one (divided by n − 1).
    """
    centred = (values - masked_mean(values, mask)) * mask
    variance = (centred**2).sum() / (mask.sum() - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + 1e-8)


class Clipped(NamedTuple):
    """A loss and the share of tokens at which clipping decided it."""

    loss: torch.Tensor
    clip_fraction: torch.Tensor


def clipped_surrogate(
    ratio: torch.Tensor, advantages: torch.Tensor, cliprange: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε)), where clipping decided it as 0 or 1), elementwise.

    Args:
        ratio: ρ = π_new/π_old of each action: a token, or a whole completion; advantages: A, of the same shape.
        cliprange: ε, how far a probability may move before it stops paying.
    Source: Schulman et al. 2017, eq. 7, with the sign of a loss.
    """
    free, held = -advantages * ratio, -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.max(free, held), (held > free).float()


def policy_loss(
    new_logprobs: torch.Tensor,
    logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    cliprange: float = 0.2,
) -> Clipped:
    """The mean of the clipped surrogate over all tokens.

    Args:
        new_logprobs: (B, T) of the policy in training; logprobs: of the policy that wrote the completions.
        cliprange: ε of `clipped_surrogate`.
    """
    losses, clipped = clipped_surrogate((new_logprobs - logprobs).exp(), advantages, cliprange)
    return Clipped(masked_mean(losses, mask), masked_mean(clipped, mask))


def value_loss(
    new_values: torch.Tensor, values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, cliprange: float = 0.2
) -> Clipped:
    """Half the squared error of the value head, clipped like the policy: mean of max((V − R)², (clip(V, V_old ± ε) −
    R)²) / 2.

    Args:
        new_values: (B, T) of the value head in training; values: what it said when the completions were written.
    Source: Schulman et al. 2017, eq. 9, with the clipping of that paper's implementation.
    """
    held = torch.minimum(torch.maximum(new_values, values - cliprange), values + cliprange)
    free_error, held_error = (new_values - returns) ** 2, (held - returns) ** 2
    return Clipped(
        masked_mean(torch.max(free_error, held_error), mask) / 2, masked_mean((held_error > free_error).float(), mask)
    )


def total_loss(
    policy: torch.Tensor, value: torch.Tensor, entropy: torch.Tensor, vf_coef: float, entropy_coef: float
) -> torch.Tensor:
    """L = L_policy + c₁·L_VF + c₂·L_entropy, where L_entropy = −entropy: more of it means a lower loss.

    Source: Schulman et al. 2017, eq. 9.
    """
    return policy + vf_coef * value - entropy_coef * entropy


def approximate_kl(new_logprobs: torch.Tensor, logprobs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How far the policy in training has moved from the one that wrote the completions: mean of (log ρ)²/2, nats a
    token.

    Never negative, and 0 where the ratio is 1. Source: Schulman 2020, *Approximating KL divergence*, estimator k2.
    """
    return masked_mean((new_logprobs - logprobs) ** 2, mask) / 2


def sequence_kl(logprobs: torch.Tensor, reference_logprobs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B,) log π − log π_ref of each completion, summed over its tokens, in nats; its mean estimates KL(π ‖ π_ref)."""
    return ((logprobs - reference_logprobs) * mask).sum(1)


def adapted_kl_coef(kl_coef: float, kl: float, target: float, completions: int, horizon: int = 10_000) -> float:
    """The next β of the adaptive controller: larger where the measured KL lies above its target, smaller below.

    β·(1 + clip(kl/target − 1, −0.2, 0.2)·completions/horizon). Source: Ziegler et al. 2019, section 2.2.
    """
    return kl_coef * (1 + max(-0.2, min(0.2, kl / target - 1)) * completions / horizon)


def annealed(learning_rate: float, steps: int | None, done: int) -> float:
    """The rate of the next step: from `learning_rate` at the first of `steps` linearly towards 0 after the last;
    constant where steps is None.

    While the signal fades, the noise of the batches does not: a rate that falls keeps it from moving the policy for
    nothing.
    Source: Huang et al. 2022, *The 37 Implementation Details of PPO*, detail 4.
    """
    return learning_rate if steps is None else learning_rate * max(0.0, 1 - done / steps)
