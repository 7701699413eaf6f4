"""Retrieval: chunks found by their words, how often the right one is among the first, what fits into a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from helpers.data.prompts import FittedPrompt


def bm25_scores(documents: Sequence[str], queries: Sequence[str], k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """(Q, N) BM25 scores: a word that a document repeats counts for more, but ever less so, and words of long documents
    count for less.

    Args:
        k1: how soon repetitions stop counting; b: how much length counts, 0 not at all.
    Source: Robertson and Zaragoza 2009, equation 3.15, with the inverse document frequency log(1 + (N − n + 0.5) / (n +
        0.5)), which stays above 0.
    """
    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform(documents).toarray().astype(float)
    with_word = (counts > 0).sum(0)
    rarity = np.log(1 + (len(documents) - with_word + 0.5) / (with_word + 0.5))
    lengths = counts.sum(1, keepdims=True)
    weights = rarity * counts * (k1 + 1) / (counts + k1 * (1 - b + b * lengths / lengths.mean()))
    return vectorizer.transform(queries).toarray() @ weights.T


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """(Q, k) numbers of the documents with the highest scores, best first; of equal ones the earlier."""
    return np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :k]


def places(scores: np.ndarray, relevant: Sequence[Sequence[int]]) -> np.ndarray:
    """(Q,) the place of each query's best relevant document, 0 for the first.

    Other documents with an equal score count as before it, so that a retriever that says nothing gains nothing.

    Args:
        scores: (Q, N); relevant: for each query the numbers of the documents that answer it.
    Raises:
        ValueError: a query without a relevant document.
    """
    scores, found = np.asarray(scores), []
    for row, (values, right) in enumerate(zip(scores, relevant)):
        if not len(right):
            raise ValueError(f"relevant[{row}] is empty; a query needs at least one document that answers it")
        others = np.delete(values, list(right))
        found.append(int((others >= values[list(right)].max()).sum()))
    return np.array(found)


def recall_at(found: Sequence[int], k: int) -> np.ndarray:
    """(Q,) 1 where the relevant document is among the first k, else 0.

    Raises:
        ValueError: `k` below 1.
    """
    if k < 1:
        raise ValueError(f"k={k!r}: it must be at least 1 document")
    return (np.asarray(found) < k).astype(float)


def fit_documents(
    documents: Sequence[str], build: Callable[[Sequence[str]], str], tokenizer, max_tokens: int
) -> FittedPrompt:
    """The prompt with as many of the documents as the window holds, best first; the rest is dropped whole, never cut in
    the middle.

    Args:
        documents: from best to worst; build: documents -> prompt.
    Raises:
        ValueError: the prompt does not fit without any document.
    """
    for count in range(len(documents), -1, -1):
        text = build(documents[:count])
        tokens = len(tokenizer(text, verbose=False)["input_ids"])
        if tokens <= max_tokens:
            return FittedPrompt(text, tokens, tuple(range(count)), tuple(range(count, len(documents))))
    raise ValueError(
        f"max_tokens: the question alone takes {tokens} tokens, the window holds {max_tokens}; ask a shorter "
        "one, or take a larger window"
    )
