"""Splits: one file's dialogues divided into train, validation and test, so that none of them is in two."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter

from helpers.data.records import DataError

LEAST_MEASURED = 2  # rows of validation and of test: an interval over dialogues needs two
LEAST_ROWS = 10  # of a file that is split 80/10/10: with fewer, a split would be empty


def split_by_hash(records: Sequence[dict], source: str, key: str = "id") -> dict[str, list[dict]]:
    """80/10/10 of the records, by the rank of a hash of their `key`: the same whatever their order.

    Validation and test have two each where a tenth would be one.
    Records with the same dialogue, or with the same value of a column `group`, are ranked as one: no dialogue is in two
    splits. Sizes are exact where every record stands alone; else a split takes whole groups until it has its tenth.

    Raises:
        DataError: fewer than `LEAST_ROWS` records, or a group so large that no record is left for training or
            validation.
    """
    if len(records) < LEAST_ROWS:
        raise DataError(
            f"{source}: has {len(records)} dialogues; splitting into train, validation and test needs at "
            f"least {LEAST_ROWS}"
        )
    groups = defaultdict(list)
    for record, name in zip(records, _group_names(records)):
        # The summary breaks ties between equal dialogues, so that the order of the rows cannot.
        groups[name].append(((hashlib.sha256(record[key].encode()).digest(), record["summary"], record["id"]), record))
    ranked = [
        [record for _, record in group]
        for group in sorted(sorted(group, key=itemgetter(0)) for group in groups.values())
    ]
    tenth, splits = max(LEAST_MEASURED, round(len(records) / 10)), {"train": [], "validation": [], "test": []}
    for group in ranked:
        split = next((name for name in ("test", "validation") if len(splits[name]) < tenth), "train")
        splits[split] += group
    if not all(splits.values()):
        largest = max(map(len, ranked))
        raise DataError(
            f"{source}: one dialogue or one group has {largest} of {len(records)} rows, so that nothing is left for "
            f"{' and '.join(name for name, found in splits.items() if not found)}; give a folder with a file a split"
        )
    return splits


def dialogue_key(text: str) -> str:
    """Equal for texts that differ in blanks and in upper and lower case alone."""
    return " ".join(text.split()).casefold()


def _group_names(records):
    """For each record a name that it shares with all records that must not be separated from it."""
    leaders = {}

    def leader(name):
        while leaders.setdefault(name, name) != name:
            name = leaders[name]
        return name

    names = [("dialogue", dialogue_key(record["dialogue"])) for record in records]
    for record, name in zip(records, names):
        if record.get("group") not in (None, ""):
            leaders[leader(("group", str(record["group"])))] = leader(name)
    return [leader(name) for name in names]
