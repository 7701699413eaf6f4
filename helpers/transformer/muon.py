"""Muon: steps along the momentum with all its directions equally long. torch.optim.Muon takes one matrix after another
in bfloat16, which many processors only emulate; here all matrices of one shape are computed together, in float32.
"""

from __future__ import annotations

from collections import defaultdict

import torch

COEFFICIENTS, ROUNDS = (3.4445, -4.7750, 2.0315), 5  # of the polynomial that is applied, and how often: as in torch


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """(N, R, C) matrices with R ≤ C whose singular values are near 1 and whose singular vectors are the given ones'.

    Source: Jordan et al. 2024, Newton-Schulz iteration; torch.optim.Muon.
    """
    a, b, c = COEFFICIENTS
    found = matrices / matrices.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(ROUNDS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov's momentum and decoupled decay; a step is about as large as one of AdamW at the same rate.

    Args:
        params: matrices, or groups of them.
    Raises:
        ValueError: something that is no matrix; AdamW takes it.
    Source: Liu et al. 2025, eq. 3; torch.optim.Muon with adjust_lr_fn="match_rms_adamw".
    """

    def __init__(self, params, lr: float, weight_decay: float = 0.1, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.ndim != 2:
                    raise ValueError(f"params: one has the shape {tuple(weight.shape)}; give matrices, others to AdamW")

    @torch.no_grad()
    def step(self, closure=None):
        """One step of all matrices that have a gradient.

        Raises:
            ValueError: a closure is given; the loss is computed before the step.
        """
        if closure is not None:
            raise ValueError("closure: Muon takes one step for one gradient; compute the loss before, and give none")
        for group in self.param_groups:
            alike = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[tuple(sorted(weight.shape))].append(weight)
            for (_, longest), weights in alike.items():
                directions = orthogonalized(torch.stack([self._momentum(each, group["momentum"]) for each in weights]))
                for weight, direction in zip(weights, directions):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    lying = weight.shape[0] <= weight.shape[1]
                    weight.add_(direction if lying else direction.T, alpha=-0.2 * longest**0.5 * group["lr"])

    def _momentum(self, weight, momentum):
        """Nesterov's momentum of a matrix, lying."""
        kept = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
        kept.lerp_(weight.grad, 1 - momentum)
        found = weight.grad.lerp(kept, momentum)
        return found if found.shape[0] <= found.shape[1] else found.T
