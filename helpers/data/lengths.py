"""Lengths: prompts and summaries counted in tokens; which rows the settings' limits have room for, and which are left
out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

from datasets import Dataset, DatasetDict

from helpers.data.loading import SPLITS, load_dialogues
from helpers.data.pairs import summary_pairs
from helpers.data.prompts import TEMPLATES, build_prompt
from helpers.data.records import LISTED, DataError
from helpers.data.splits import LEAST_MEASURED
from helpers.models.loading import load_tokenizer
from helpers.settings import QUICK

TAUGHT = ("train", "validation")  # splits whose summaries are completions that a model learns

QUICK_ROWS = {"train": 96}  # of each part in quick size; 8 of every other split


class Length(NamedTuple):
    """Tokens of a row's zero-shot prompt and of its first summary, end tokens included; the most the model can read;
    tokens of the prompt under the template that takes most.
    """

    prompt: int
    summary: int
    window: float
    longest: int

    def too_long(self, settings, split: str) -> list[tuple[str, str]]:
        """[(column, what is too long)]; a summary must fit where it is learned, a reference in the test split need
        not.
        """
        found, window = [], min(settings.max_prompt_tokens, self.window)
        if self.longest > window:
            found.append(("dialogue", f"takes up to {self.longest} tokens as a prompt, the window holds {window}"))
        if self.summary > settings.max_new_tokens and split in TAUGHT:
            found.append(
                ("summary", f"takes {self.summary} tokens, a completion has room for {settings.max_new_tokens}")
            )
        return found


def token_lengths(rows: Sequence, tokenizer) -> list[Length]:
    """The lengths of N rows with dialogue and summary; nothing is cut."""
    if not len(rows):
        return []

    def count(texts):
        return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]

    prompts, summaries = map(count, summary_pairs(rows))
    of_one = dict(zip(TEMPLATES, count(build_prompt(rows[0]["dialogue"], template=name) for name in TEMPLATES)))
    longest = max(of_one, key=of_one.get)  # a template adds the same to every dialogue
    most = map(max, prompts, count(summary_pairs(rows, longest)[0]))
    window = getattr(tokenizer, "model_max_length", float("inf"))
    return [Length(prompt, summary, window, long) for prompt, summary, long in zip(prompts, summaries, most)]


def a_few(rows: Dataset, count: int) -> Dataset:
    """So many rows of each part (the column `part`, where there is one), or all where it has fewer: the first one, and
    others at equal distances as far as the end.
    """
    parts: dict[str, list[int]] = {}
    for number, part in enumerate(rows["part"] if "part" in rows.column_names else [""] * len(rows)):
        parts.setdefault(part, []).append(number)
    kept = []
    for numbers in parts.values():
        most = min(count, len(numbers))
        kept += [numbers[place * len(numbers) // most] for place in range(most)]
    return rows.select(sorted(kept))


def fitting_dialogues(settings, on_bad_rows: str = "error") -> DatasetDict:
    """`load_dialogues` without the rows that are too long for the settings; a warning lists those. What stays is not
    cut. In quick size a few rows of each part are left.

    Raises:
        DataError: as `load_dialogues`; no row of train is left, or fewer than two of validation or test.
        ModelError: the model folder has no tokenizer that can be loaded.
    """
    data, tokenizer = load_dialogues(settings, on_bad_rows), load_tokenizer(settings)
    if settings.size == QUICK:
        data = DatasetDict({split: a_few(rows, QUICK_ROWS.get(split, 8)) for split, rows in data.items()})
    kept, left = {}, []
    for split, rows in data.items():
        faults = [length.too_long(settings, split) for length in token_lengths(list(rows), tokenizer)]
        too_long = [
            f"  {split}, {row_id!r}, column {column}: {what}"
            for row_id, found in zip(rows["id"], faults)
            for column, what in found[:1]
        ]
        left += too_long
        kept[split] = rows.select([number for number, found in enumerate(faults) if not found]) if any(faults) else rows
        if split in SPLITS:
            _check_count(settings, split, len(kept[split]), too_long)
    if left:
        rest = f"; the first {LISTED} of them" if len(left) > LISTED else ""
        listed = "\n".join(left[:LISTED])
        warnings.warn(
            f"{len(left)} of {sum(map(len, data.values()))} rows are too long and were left out{rest}:\n{listed}",
            stacklevel=2,
        )
    return DatasetDict(kept)


def _check_count(settings, split, count, too_long):
    """Whether so many rows of a split are enough; `too_long` lists those that were left out of it."""
    least = 1 if split == "train" else LEAST_MEASURED
    if count >= least:
        return
    remedy = "shorten what is too long, raise max_prompt_tokens or max_new_tokens, or add rows"
    raise DataError(
        f"{settings.data}: this model and these settings have room for {count} of the rows of split {split!r}, which "
        f"needs {least}; " + (f"{remedy}\n{too_long[-1].strip()}" if too_long else "add rows")
    )
