"""Symbols that a model has never seen: their vectors are twins, which it cannot tell apart; fresh vectors for them,
before it is trained to use them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

SYMBOLS = tuple("0123456789[]()*+-/=")  # what programs and actions are made of
ALIKE = 0.9  # cosine above which two symbols count as twins


def symbol_ids(tokenizer, symbols: Sequence[str] = SYMBOLS) -> dict[str, int]:
    """Symbol -> id of the token that stands for it; this may be a byte."""
    return {symbol: tokenizer(symbol, add_special_tokens=False)["input_ids"][-1] for symbol in symbols}


def similarities(model, ids: Sequence[int]) -> torch.Tensor:
    """(N, N) cosines between the input embeddings of N tokens."""
    vectors = normalize(model.get_input_embeddings().weight.detach()[list(ids)].float(), dim=1)
    return (vectors @ vectors.T).clamp(-1, 1)


def twins(model, tokenizer, symbols: Sequence[str] = SYMBOLS) -> list[str]:
    """The symbols whose vector has a cosine above `ALIKE` with that of another one of them."""
    cosines = similarities(model, list(symbol_ids(tokenizer, symbols).values())).fill_diagonal_(0)
    return [symbol for symbol, row in zip(symbols, cosines) if row.max() > ALIKE]


def with_fresh_vectors(model, tokenizer, seed: int, symbols: Sequence[str] = SYMBOLS):
    """A copy of the model in which each twin has a vector of its own; a model without twins is returned as it is.

    The vectors are drawn from a normal distribution with the mean and the covariance of all embeddings, as one does for
    tokens that are added to a vocabulary.
    Source: Hewitt 2021, *Initializing New Word Embeddings for Pretrained Language Models*; `resize_token_embeddings` of
        transformers has the same mean.
    """
    found = twins(model, tokenizer, symbols)
    if not found:
        return model
    fresh, places = copy.deepcopy(model), list(symbol_ids(tokenizer, found).values())
    for layer in {
        id(layer.weight): layer for layer in (fresh.get_input_embeddings(), fresh.get_output_embeddings())
    }.values():  # one of them where they are tied
        rows = layer.weight.detach().double().cpu()
        noise = torch.randn(
            len(places), rows.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        values, vectors = torch.linalg.eigh(rows.T.cov())
        drawn = rows.mean(0) + noise @ (vectors * values.clamp(min=0).sqrt()).T
        with torch.no_grad():
            layer.weight[places] = drawn.to(layer.weight)
    return fresh
