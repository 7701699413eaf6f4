"""Retrieval: documents found for a question, by words (TF-IDF, BM25) or by vectors; how often the right one is among
the first; what fits into a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch.nn.functional import normalize

from helpers.data.prompts import FittedPrompt
from helpers.models.generation import encode_prompts, evaluating


def tfidf_scores(documents: Sequence[str], queries: Sequence[str]) -> np.ndarray:
    """(Q, N) cosines between queries and documents, each a vector with one number a word: its count times the logarithm
    of how rare it is.

    Source: scikit-learn's `TfidfVectorizer`, with its smoothed inverse document frequencies; words that no document has
        are left out.
    """
    vectorizer = TfidfVectorizer()
    stored = vectorizer.fit_transform(documents)
    return (vectorizer.transform(queries) @ stored.T).toarray()


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


def encoder_vectors(model, tokenizer, texts: Sequence[str], batch_size: int = 32) -> torch.Tensor:
    """(N, d_model) float32 on the CPU: the mean of the encoder's states over the tokens of each text, the end token
    included.

    Raises:
        GenerationError: a text is empty or longer than the window; the message names its index.
    """
    rows, found = encode_prompts(tokenizer, texts), [None] * len(texts)
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = tokenizer.pad({"input_ids": [rows[index] for index in chosen]}, return_tensors="pt").to(
                model.device
            )
            states = model.get_encoder()(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state.float()  # (B, S, d_model)
            mask = batch["attention_mask"][..., None]
            for index, vector in zip(chosen, ((states * mask).sum(1) / mask.sum(1)).cpu()):
                found[index] = vector
    return torch.stack(found)


class VectorStore:
    """A vector store: one row a document in a matrix, and cosines with all of them by one product.

    Args:
        vectors: (N, D), one a document.
        usual_query: (D,) the mean of typical queries. With it the store is centred: what all documents share is taken
            away from them, and what all queries share from queries, since neither says which document belongs to which
            query.
    Raises:
        ValueError: `vectors` is no matrix with at least one row.
    """

    def __init__(self, vectors: torch.Tensor, usual_query: torch.Tensor | None = None):
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"vectors: shape {tuple(vectors.shape)}; give one row a document, and at least one")
        self.usual_query = torch.zeros(vectors.shape[1]) if usual_query is None else usual_query
        self.matrix = normalize(vectors if usual_query is None else vectors - vectors.mean(0), dim=1)

    def scores(self, queries: torch.Tensor) -> np.ndarray:
        """(Q, N) cosines of Q query vectors, (Q, D), with all documents."""
        return (normalize(queries - self.usual_query, dim=1) @ self.matrix.T).numpy()


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """(Q, k) numbers of the documents with the highest scores, best first; of equal ones the earlier."""
    return np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :k]


def places(scores: np.ndarray, relevant: Sequence[int]) -> np.ndarray:
    """(Q,) the place of each query's relevant document, 0 for the first; equal scores count as before it, so that a
    retriever that says nothing gains nothing.
    """
    scores = np.asarray(scores)
    own = scores[np.arange(len(scores)), list(relevant)]
    return (scores >= own[:, None]).sum(1) - 1


def recall_at(found: Sequence[int], k: int) -> np.ndarray:
    """(Q,) 1 where the relevant document is among the first k, else 0.

    Raises:
        ValueError: `k` below 1.
    """
    if k < 1:
        raise ValueError(f"k={k!r}: it must be at least 1 document")
    return (np.asarray(found) < k).astype(float)


def search_tool(index: Sequence[str], documents: Sequence[str]) -> Callable[[str], str]:
    """A function from a query to the best document by TF-IDF, or "nothing found" where no document has any of its
    words.

    Args:
        index: N texts that are searched, such as documents with their titles; documents: the N texts that are handed
            out.
    """

    def search(query):
        scores = tfidf_scores(index, [query])
        return documents[best(scores, 1)[0, 0]] if scores.max() > 0 else "nothing found"

    return search


def fit_documents(
    documents: Sequence[str], build: Callable[[Sequence[str]], str], tokenizer, max_tokens: int
) -> FittedPrompt:
    """The prompt with as many of the documents as the window holds, best first; the rest is dropped whole, never cut in
    the middle.

    Args:
        documents: from best to worst; build: documents -> prompt, such as `open_prompt` with a question.
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
