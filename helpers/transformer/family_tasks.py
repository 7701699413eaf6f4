"""Tasks that tell the families apart: filling a gap, continuing, and what a linear probe reads from the states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.transformer.families import FamilyModel, label_losses
from helpers.transformer.objectives import Example, batched, corrupted, masked, shifted
from helpers.data.pairs import IGNORED


def _only(example: Example, kept: range) -> Example:
    """The example with the labels at these places alone."""
    return replace(example, labels=[label if place in kept else IGNORED for place, label in enumerate(example.labels)])


def gap_examples(family: str, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int]) -> list[Example]:
    """Examples whose labels, one after the other, are the `length` tokens from `start` on, each as the family would find it from left to right.

    An encoder reads the text once for each token, with masks for what is still to be found: it must be told how long the gap is. A decoder
    sees what stands before the gap and never what comes after it; an encoder-decoder reads both sides, with one sentinel for the gap.
    """
    end = start + length
    if family == "encoder-only":
        return [_only(masked(ids, range(place, end), sentinels[0]), range(place, place + 1)) for place in range(start, end)]
    if family == "decoder-only":
        return [_only(shifted(ids[:end]), range(start, end))]
    return [_only(corrupted(ids, [(start, length)], sentinels), range(1, 1 + length))]


def continuation_examples(family: str, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int]) -> list[Example]:
    """The same for the tokens that follow a text whose end nobody has seen: an encoder gets one mask behind what is known so far."""
    if family == "encoder-only":
        return [example for place in range(start, start + length) for example in gap_examples(family, ids[:place + 1], place, 1, sentinels)]
    return gap_examples(family, ids[:start + length], start, length, sentinels)


@torch.no_grad()
def mean_losses(model: FamilyModel, tasks: Sequence[Sequence[Example]], batch_size: int = 64) -> np.ndarray:
    """(N,) of each task the mean loss of its tokens, in nats; a task is a list of examples as the functions above give them."""
    flat = [(number, example) for number, examples in enumerate(tasks) for example in examples]
    sums, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    for start in range(0, len(flat), batch_size):
        chunk = flat[start:start + batch_size]
        for (number, _), losses in zip(chunk, label_losses(model, [example for _, example in chunk])):
            sums[number] += losses.sum().item()
            counts[number] += len(losses)
    return sums / counts


@torch.no_grad()
def greedy(model: FamilyModel, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int], examples_of=gap_examples) -> list[int]:
    """The likeliest `length` tokens from `start` on, one after the other, each with those before it filled in; what stood there is not looked at."""
    found = list(ids)
    found[start:start + length] = [sentinels[0]] * length
    for step in range(length):
        examples = examples_of(model.family, found, start, length, sentinels)
        example, label = (examples[step], 0) if len(examples) > 1 else (examples[0], step)
        inputs, labels = batched([example], model.shared.weight.device)
        logits = model.logits(model(**inputs)[labels != IGNORED][label])
        logits[list(sentinels)] = -torch.inf
        found[start + step] = int(logits.argmax())
    return found[start:start + length]


@torch.no_grad()
def states_of(model: FamilyModel, texts: Sequence[Sequence[int]], batch_size: int = 64) -> list[np.ndarray]:
    """Of each text its states, (S, width), from the stack that reads."""
    found = []
    for start in range(0, len(texts), batch_size):
        chosen = texts[start:start + batch_size]
        inputs, _ = batched([Example(list(ids), [IGNORED]) for ids in chosen], model.shared.weight.device)
        found += [states[:len(ids)].cpu().numpy() for states, ids in zip(model.states(**inputs), chosen)]
    return found


def probe(known: np.ndarray, labels: Sequence, asked: np.ndarray, truth: Sequence) -> np.ndarray:
    """(M,) whether a linear classifier, fitted to the known states and their labels, is right on the asked ones.

    Args:
        known: (N, d); asked: (M, d).
    Source: probes as in Alain and Bengio 2016; logistic regression of scikit-learn.
    """
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return classifier.fit(known, labels).predict(asked) == np.asarray(truth)


def turn_questions(ids: Sequence[int], tags: Sequence[int], question_mark: Sequence[int]) -> list[tuple[int, bool]]:
    """(place of a turn's first token, whether the turn asks something) of every turn that begins and ends within the text.

    Args:
        tags: ids that begin a turn; question_mark: ids of pieces with a question mark.
    """
    places = [place for place, token in enumerate(ids) if token in tags]
    return [(start, any(token in question_mark for token in ids[start:end])) for start, end in pairwise(places)]
