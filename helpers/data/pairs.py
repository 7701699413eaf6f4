"""Pairs: prompts and their completions as token ids, ready to train on; batches of similar length, labels masked on
padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Sampler

from helpers.data.prompts import build_prompt
from helpers.models.characters import half_character

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100  # a label that the loss leaves out (the default of torch.nn.functional.cross_entropy)


def summary_pairs(rows: Sequence, template: str = "conversation") -> tuple[list[str], list[str]]:
    """(prompts, completions) that teach to summarize: each dialogue under the template, with its first summary."""
    return [build_prompt(row["dialogue"], template=template) for row in rows], [row["summary"] for row in rows]


def encode_pairs(
    prompts: Sequence[str],
    completions: Sequence[str],
    tokenizer,
    max_prompt_tokens: int,
    max_completion_tokens: int | None,
) -> Dataset:
    """The pairs as token ids, end tokens included: columns input_ids and labels, lists of different length.

    Args:
        prompts, completions: N texts each; limits: in tokens, None for completions of any length. Nothing is cut.
    Raises:
        ValueError: no pairs, unequal numbers, an empty text, half a character in one, or a text longer than its limit;
            the message names its index.
    """
    from datasets import Dataset  # here, because it takes a second, and processes that share a training do without

    if not len(prompts) or len(prompts) != len(completions):
        raise ValueError(
            f"pairs: {len(prompts)} prompts and {len(completions)} completions; give at least one, and as many of both"
        )
    columns = {}
    for name, texts, limit in (
        ("prompts", prompts, max_prompt_tokens),
        ("completions", completions, max_completion_tokens),
    ):
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}[{index}]: {text!r} is empty; leave such pairs out")
            if what := half_character(text):
                raise ValueError(f"{name}[{index}]: {text[:60]!r} {what}; write the character again")
        columns[name] = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        for index, ids in enumerate(columns[name]):
            if limit is not None and len(ids) > limit:
                raise ValueError(
                    f"{name}[{index}] has {len(ids)} tokens, the limit is {limit}; leave the pair out, or raise "
                    f"max_{name[:-1]}_tokens"
                )
    return Dataset.from_dict({"input_ids": columns["prompts"], "labels": columns["completions"]})


def _padded(rows, value, multiple):
    width = multiple * -(-max(map(len, rows)) // multiple)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


class Collator:
    """Features to one batch: input_ids and attention_mask (B, S), labels (B, T) with -100 on padding.

    S and T are those of the longest, rounded up to a multiple of 8: fewer different shapes, which matrix kernels like.
    """

    def __init__(self, pad_token_id: int, multiple: int = 8):
        self.pad_token_id, self.multiple = pad_token_id, multiple

    def __call__(self, features: Sequence[dict]) -> dict[str, torch.Tensor]:
        inputs = [feature["input_ids"] for feature in features]
        return {
            "input_ids": _padded(inputs, self.pad_token_id, self.multiple),
            "attention_mask": _padded([[1] * len(row) for row in inputs], 0, self.multiple),
            "labels": _padded([feature["labels"] for feature in features], IGNORED, self.multiple),
        }


class SimilarLengths(Sampler):
    """Indices in an order in which neighbours are about equally long: random, but the same for the same seed and epoch.

    Source: `get_length_grouped_indices` of transformers, with a generator of its own, so that an interrupted run that
    resumes sees the very order of the uninterrupted one.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int):
        """Another order for another epoch; called by the training loop."""
        self.epoch = epoch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        from transformers.trainer_pt_utils import get_length_grouped_indices  # here, as above

        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
