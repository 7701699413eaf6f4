"""Objectives: what each family of transformers reads and must say, made of one text: masked tokens, the next token,
corrupted spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from helpers.data.pairs import IGNORED

FAMILIES = ("encoder-only", "decoder-only", "encoder-decoder")
OBJECTIVES = {"encoder-only": "masked tokens", "decoder-only": "next token", "encoder-decoder": "corrupted spans"}
HIDDEN_SHARE, SPAN = 0.15, 3  # of the tokens; mean tokens of a span: both as in the T5 paper
SENTINEL = "<extra_id_{}>"


@dataclass(frozen=True)
class Example:
    """What a family reads and what it must say: lists of token ids; `labels` are -100 where the loss looks away.

    Attributes:
        inputs: S ids for the stack that reads; labels: T of them; decoder_inputs: T ids, of an encoder-decoder alone.
    """

    inputs: list[int]
    labels: list[int]
    decoder_inputs: list[int] | None = None


def masked(ids: Sequence[int], places: Sequence[int], mask_id: int) -> Example:
    """An encoder's task: the tokens at `places`, hidden behind the mask, from all others.

    Source: Devlin et al. 2019, section 3.1, but every chosen token is masked; BERT leaves or swaps a fifth of them.
    """
    hidden = set(places)
    return Example(
        [mask_id if place in hidden else token for place, token in enumerate(ids)],
        [token if place in hidden else IGNORED for place, token in enumerate(ids)],
    )


def shifted(ids: Sequence[int], start_id: int = 0) -> Example:
    """A decoder's task: each token from those before it. Source: Radford et al. 2018, eq. 1."""
    return Example([start_id, *ids[:-1]], list(ids))


def corrupted(
    ids: Sequence[int], spans: Sequence[tuple[int, int]], sentinels: Sequence[int], start_id: int = 0
) -> Example:
    """An encoder-decoder's task: the spans (start, length), each replaced by a sentinel, from what is left.

    The labels name each sentinel and what it stands for, and end with one more sentinel.
    Source: Raffel et al. 2020, section 3.1.4 and figure 2.
    """
    inputs, labels, place = [], [], 0
    for (start, length), sentinel in zip(spans, sentinels):
        inputs += [*ids[place:start], sentinel]
        labels += [sentinel, *ids[start : start + length]]
        place = start + length
    labels.append(sentinels[len(spans)])
    return Example([*inputs, *ids[place:]], labels, [start_id, *labels[:-1]])


def draw_places(length: int, rng: np.random.Generator, share: float = HIDDEN_SHARE) -> list[int]:
    """Places of single tokens to hide, in order; at least one."""
    return sorted(rng.choice(length, max(1, round(share * length)), replace=False).tolist())


def draw_spans(
    length: int, rng: np.random.Generator, share: float = HIDDEN_SHARE, mean: int = SPAN
) -> list[tuple[int, int]]:
    """(start, length) of spans that do not touch, `mean` tokens each, about `share` of all tokens together."""
    count = max(1, round(share * length / mean))
    lengths = 1 + rng.multinomial(count * (mean - 1), [1 / count] * count)
    free = max(
        0, length - int(lengths.sum()) - (count - 1)
    )  # tokens between the spans, besides the one that parts neighbours
    gaps = np.sort(rng.integers(0, free + 1, count))
    starts = gaps + np.concatenate([[0], np.cumsum(lengths[:-1] + 1)])
    return [(int(start), int(size)) for start, size in zip(starts, lengths) if start + size <= length]


def example_of(family: str, ids: Sequence[int], rng: np.random.Generator, sentinels: Sequence[int]) -> Example:
    """The family's own task on a text; the first sentinel is the mask as well."""
    if family == "encoder-only":
        return masked(ids, draw_places(len(ids), rng), sentinels[0])
    return shifted(ids) if family == "decoder-only" else corrupted(ids, draw_spans(len(ids), rng), sentinels)


def excerpt(ids: Sequence[int], length: int, rng: np.random.Generator) -> list[int]:
    """`length` neighbouring tokens of a text, from a random place; the whole text where it is shorter."""
    start = int(rng.integers(0, max(1, len(ids) - length + 1)))
    return list(ids[start : start + length])


def batched(examples: Sequence[Example], device="cpu") -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(what `FamilyModel` takes, labels (B, T)) of examples of one family, padded behind."""

    def padded(rows, value):
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value).to(device)

    inputs = {
        "input_ids": padded([example.inputs for example in examples], 0),
        "attention_mask": padded([[1] * len(example.inputs) for example in examples], 0),
    }
    if examples[0].decoder_inputs is not None:
        inputs["decoder_input_ids"] = padded([example.decoder_inputs for example in examples], 0)
    return inputs, padded([example.labels for example in examples], IGNORED)
