"""Data: dialogues with their reference summaries, in one form whatever they come from: the hub, a folder, or one
file.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetsError

from helpers.data.dialogues import check_rows, merge_annotators, text_fault
from helpers.data.prompts import build_task
from helpers.data.records import SUFFIXES, DataError, Problem, Row, read_rows, require_columns, settle
from helpers.data.splits import split_by_hash
from helpers.hub import HubError, fetch, first_line
from helpers.settings import Settings

SPLITS = ("train", "validation", "test")
FILES = ("*.csv", "*.tsv", "*.json", "*.jsonl", "*.parquet", "*.txt", "*.zip", "*.gz", "README.md")  # of a repository
ALIASES = {"dev": "validation", "val": "validation", "valid": "validation"}
SPLITS_IN_NAMES = {*SPLITS, *ALIASES}
WHOLE = None  # stands for the split of a single file, which has yet to be split
TASK_COLUMNS = ("id", "task", "answer", "part")
MEANT = ("part", "rude", "neutral", "blunt", "scenario")  # columns that labs read, in the kit's own data alone


class Table(NamedTuple):
    """What was read for one split: where it comes from, its rows, and the lines that are no rows."""

    source: str
    rows: list[Row]
    unreadable: list[Problem]


def load_dialogues(settings: Settings, on_bad_rows: str = "error") -> DatasetDict:
    """Dialogues in the splits train, validation and test, and any others that a folder has.

    Columns: id, dialogue, summary, topic ("" where the source has none), summaries (every reference summary; the first
    is `summary`), then the source's own further columns. Those in `MEANT` steer the labs in the kit's own data; in all
    other data they are called own_part, own_rude and so on, and steer nothing.

    Args:
        settings: `data` is a hub id, a folder with one file a split, or one file, which is split 80/10/10 by a hash of
            the id (of the dialogue, where there are no ids), the same way in whatever order its rows stand; rows of one
            dialogue, and of one `group` where there is such a column, stay together. A folder with a single file is
            read like that file.
        on_bad_rows: "error", or "report": bad rows are left out, and listed in a warning.
    Raises:
        DataError: names file, row and column; lists every bad row (the first 20, and how many there are).
    """
    tables = _from_files(Path(settings.data)) if os.path.isabs(settings.data) else _from_hub(settings)
    checked, problems = {}, []
    for split, (source, rows, unreadable) in tables.items():
        extra = f"{source} is read as a split {split!r} of its own; move it away if it is none"
        checked[split] = check_rows(
            rows, source, "row" if split is WHOLE else split, remedy="" if split in (*SPLITS, WHOLE) else extra
        )
        problems += sorted([*unreadable, *checked[split].problems], key=lambda problem: problem.line)
    settle(problems, sum(len(split.records) for split in checked.values()), on_bad_rows)
    merged = {split: merge_annotators(found.records) for split, found in checked.items()}
    if not is_kits_own(settings):
        merged = _renamed(merged)
    if WHOLE in merged:
        source = tables[WHOLE].source
        merged = split_by_hash(merged[WHOLE], source, key="id" if checked[WHOLE].has_ids else "dialogue")
        return DatasetDict({split: _to_dataset(records, source) for split, records in merged.items()})
    for split, records in merged.items():
        if not records:
            raise DataError(f"{tables[split].source}: split {split!r} has no usable row; it needs at least 1")
    return DatasetDict({split: _to_dataset(records, tables[split].source) for split, records in merged.items()})


def is_kits_own(settings: Settings) -> bool:
    """Whether the data were made by the kit (`python -m pocket.build`), which writes world.json beside them."""
    return os.path.isabs(settings.data) and (Path(settings.data).parent / "world.json").is_file()


def _renamed(splits):
    """The rows of data that are not the kit's own, by split: a column that is called like one of the kit's gets another
    name, the same in all splits.
    """
    taken = {name for records in splits.values() for record in records for name in record}
    if not taken & set(MEANT):
        return splits
    names = {}
    for name in MEANT:
        names[name] = f"own_{name}"
        while names[name] in taken:
            names[name] = f"own_{names[name]}"
    return {
        split: [{names.get(name, name): value for name, value in record.items()} for record in records]
        for split, records in splits.items()
    }


def _tasks_file(settings):
    return Path(settings.data).parent / "tasks.jsonl"


def has_tasks(settings: Settings) -> bool:
    """Whether the data set comes with other tasks about its dialogues, for `load_tasks`."""
    return os.path.isabs(settings.data) and _tasks_file(settings).is_file()


def load_tasks(settings: Settings) -> Dataset:
    """Questions and other tasks about the dialogues, for measuring forgetting and for training against it.

    Columns: id (of the dialogue), task, prompt, answer, part. The file gives, instead of the prompt, what the task's
    wording needs besides the dialogue (a question, say).

    Raises:
        DataError: the data set has no tasks.jsonl beside it, or one of its rows is bad: a column is missing or empty,
            there is no such dialogue or task, the task lacks a field.
    """
    path = _tasks_file(settings)
    if not has_tasks(settings):
        raise DataError(
            'only the kit\'s own data set comes with tasks; load them with load_settings("pocket")\n'
            f"{settings.data}: has no tasks.jsonl beside it"
        )
    rows, problems = read_rows(path)
    require_columns(rows, str(path), TASK_COLUMNS)
    dialogues = {row["id"]: row["dialogue"] for split in load_dialogues(settings).values() for row in split}
    tasks = []
    for row in rows:
        found = {column: row.values.get(column) for column in TASK_COLUMNS}
        fields = {name: value for name, value in row.values.items() if name not in TASK_COLUMNS}
        faults = [
            Problem(str(path), row.line, column, what) for column, value in found.items() if (what := text_fault(value))
        ]
        problems += faults
        if faults:
            continue
        if found["id"] not in dialogues:
            problems.append(Problem(str(path), row.line, "id", f"{found['id']!r} is the id of no dialogue"))
            continue
        try:
            tasks.append(found | {"prompt": build_task(found["task"], dialogues[found["id"]], **fields)})
        except ValueError as error:
            problems.append(Problem(str(path), row.line, "task", str(error)))
    settle(problems, len(rows) - len({problem.line for problem in problems}))
    return Dataset.from_list(tasks)


class World(NamedTuple):
    """What is known of a data set beside its rows; empty where nothing is.

    Attributes:
        words: all words that its texts and its model's other styles can hold.
        values: {scenario: values (things, names, times …) that a summary of it can name}.
    """

    words: list[str]
    values: dict[str, list[str]]


def load_world(settings: Settings) -> World:
    """What lies in world.json beside the data; an empty `World` where there is no such file.

    Raises:
        DataError: the file cannot be read.
    """
    path = Path(settings.data).parent / "world.json"
    if not is_kits_own(settings):
        return World([], {})
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        words, values, wording = list(found["words"]), list(found["values"]), dict(found["wording"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"take the file from the kit again, or make it with python -m pocket.build\n{path}: {error!r}"
        ) from error
    scenarios = {row.get("scenario") for split in load_dialogues(settings).values() for row in split} - {None, ""}
    named = {name: set(wording.get(name, ())) for name in sorted(scenarios)}
    return World(words, {name: [value for value in values if value not in own] for name, own in named.items()})


def _from_hub(settings):
    try:
        loaded = load_dataset(str(fetch(settings.data, settings.data_revision, FILES, "data_revision", kind="dataset")))
    except HubError as error:
        raise DataError(f"use the profile pocket, or set LAB_DATA to a file or folder of dialogues\n{error}") from error
    except (OSError, ValueError, DatasetsError) as error:  # no file that can be read
        raise DataError(
            "the files of this data set cannot be read as a table; set LAB_DATA to a file or folder of dialogues\n"
            f"{settings.data}: {first_line(error)}"
        ) from error
    missing = [split for split in SPLITS if split not in loaded]
    if missing:
        raise DataError(f"{settings.data}: has no split {', '.join(missing)}; splits found: {', '.join(loaded)}")
    return {
        split: Table(f"{settings.data} {split}", [Row(number, row) for number, row in enumerate(rows, start=1)], [])
        for split, rows in loaded.items()
    }


def _from_files(place):
    return {split: Table(str(path), *read_rows(path)) for split, path in split_files(place).items()}


def split_files(place: Path) -> dict[str | None, Path]:
    """{split: path}, or {WHOLE: path} for a single file, which has yet to be split.

    Raises:
        DataError: nothing is there, two files of one split, or a folder without one of train, validation and test.
    """
    if os.path.isfile(place):  # of a folder that may not be looked into, Path.is_file raises PermissionError
        return {WHOLE: place}
    if not os.path.isdir(place):
        raise DataError(f"{place}: does not exist; LAB_DATA is a file or a folder of dialogues")
    paths, others = _listed(place)
    if len(paths) == 1 and not others:
        return {WHOLE: paths[0]}
    files = {}
    for path in paths:
        split = split_of(path)
        if split in files:
            raise DataError(f"{path}: is a second file of split {split!r}, next to {files[split].name}; keep one")
        files[split] = path
    missing = [split for split in SPLITS if split not in files]
    if missing:
        found = ", ".join(path.name for path in paths) or "none"
        unread = f"; not read: {', '.join(path.name for path in others)}" if others else ""
        raise DataError(
            "a folder of dialogues has a file for each of train, validation (or dev, val) and test, ending "
            f"in {', '.join(SUFFIXES)}\n{place}: no file for {', '.join(missing)}; files found: {found}{unread}"
        )
    return {split: files[split] for split in (*SPLITS, *sorted(set(files) - set(SPLITS)))}


def split_of(path: Path) -> str:
    """The split that a file's name stands for: DialogSum calls its files dialogsum.dev.jsonl, the hub
    train-00000-of-00001.parquet.
    """
    name = re.sub(r"-00000-of-00001$", "", path.stem).rpartition(".")[2].lower()
    return ALIASES.get(name, name)


def _listed(place):
    """(files of a folder that are read, others that are not, though they look as if they should be)."""
    try:
        found = [path for path in sorted(place.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror})") from None
    usable = [path for path in found if path.suffix.lower() in SUFFIXES]
    # Programs keep notes in .json: dataset_infos.json is no split.
    read = [path for path in usable if path.suffix.lower() != ".json" or split_of(path) in SPLITS]
    if len(usable) == 1:  # what else than the dialogues
        read = usable
    named = [path for path in found if SPLITS_IN_NAMES.intersection(re.split(r"[^a-z]+", path.name.lower()))]
    others = named if read else dict.fromkeys([*named, *usable])
    return read, [path for path in others if path not in read]


def _to_dataset(records, source):
    try:
        return Dataset.from_list(records)
    except (pa.ArrowException, OverflowError, TypeError) as error:  # values that differ in type, giant numbers
        raise DataError(f"{source}: a column cannot be stored: {str(error).splitlines()[0]}") from None
