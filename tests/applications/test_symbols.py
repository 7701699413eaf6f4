"""Symbols: twins are found, and get vectors of their own; everything else stays."""

import copy

import torch

from helpers.applications.symbols import similarities, symbol_ids, twins, with_fresh_vectors


def as_twins(model, tokenizer, symbols):
    """A copy in which some symbols have nearly one vector."""
    changed = copy.deepcopy(model)
    places = [symbol_ids(tokenizer, symbols)[symbol] for symbol in symbols]
    with torch.no_grad():
        weight = changed.get_input_embeddings().weight
        weight[places] = weight[places[0]] + 1e-3 * torch.arange(len(places))[:, None]
    return changed


def apart(model, tokenizer):
    """A copy in which all vectors are far from each other."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        weight = changed.get_input_embeddings().weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return changed


def test_twins_are_found_and_told_apart(tiny_model, tiny_tokenizer):
    model = as_twins(apart(tiny_model, tiny_tokenizer), tiny_tokenizer, "789[")
    assert twins(model, tiny_tokenizer) == list("789[")
    fresh = with_fresh_vectors(model, tiny_tokenizer, seed=1)
    assert twins(fresh, tiny_tokenizer) == [] and twins(model, tiny_tokenizer) == list("789[")
    before, after = model.get_input_embeddings().weight, fresh.get_input_embeddings().weight
    moved = {int(row) for row in (before != after).any(1).nonzero()}
    assert moved == set(symbol_ids(tiny_tokenizer, "789[").values())
    norms = before.norm(dim=1)
    assert 0.3 * norms.mean() < after[sorted(moved)].norm(dim=1).mean() < 3 * norms.mean()


def test_the_same_seed_gives_the_same_vectors(tiny_model, tiny_tokenizer):
    model = as_twins(apart(tiny_model, tiny_tokenizer), tiny_tokenizer, "789")
    one, same, other = (
        with_fresh_vectors(model, tiny_tokenizer, seed).get_input_embeddings().weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_model_without_twins_stays_as_it_is(tiny_model, tiny_tokenizer):
    model = apart(tiny_model, tiny_tokenizer)
    assert with_fresh_vectors(model, tiny_tokenizer, seed=1) is model


def test_similarities_are_cosines(tiny_model, tiny_tokenizer):
    ids = list(symbol_ids(tiny_tokenizer, "123").values())
    vectors = tiny_model.get_input_embeddings().weight.detach()[ids]
    expected = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    assert torch.allclose(similarities(tiny_model, ids), expected, atol=1e-5)
