"""Muon for many matrices: torch's steps, up to the rounding of bfloat16."""

import pytest
import torch

from helpers.transformer.muon import Muon, orthogonalized

SHAPES = ((8, 20), (20, 8), (8, 20), (16, 16))


def weights():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def stepped(make, steps=4):
    params, generator = weights(), torch.Generator().manual_seed(1)
    optimizer = make(params)
    for _ in range(steps):
        for weight in params:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return params


def test_steps_are_torchs_up_to_rounding():
    ours = stepped(lambda params: Muon(params, 0.05, weight_decay=0.2))
    theirs = stepped(lambda params: torch.optim.Muon(params, 0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw"))
    for mine, other, start in zip(ours, theirs, weights()):
        moved = (other - start).norm()
        assert (mine - other).norm() < 0.03 * moved and moved > 0.1


def test_directions_are_equally_long_and_keep_their_vectors():
    found = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(2))
    lengths = torch.linalg.svdvals(orthogonalized(found))
    assert lengths.min() > 0.4 and lengths.max() < 1.3
    left, _, right = torch.linalg.svd(found, full_matrices=False)
    turned = left.mT @ orthogonalized(found) @ right.mT
    assert (turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3


def test_a_matrix_without_gradient_stays_and_others_are_refused():
    one, other = weights()[:2]
    kept, one.grad = other.detach().clone(), torch.ones_like(one)
    Muon([one, other], 0.1).step()
    assert torch.equal(other, kept)
    with pytest.raises(ValueError, match=r"\(5,\); give matrices"):
        Muon([torch.nn.Parameter(torch.ones(5))], 0.1)
    with pytest.raises(ValueError, match="closure"):
        Muon([one], 0.1).step(lambda: 0.0)
