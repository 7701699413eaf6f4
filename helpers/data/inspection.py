"""Inspection: every problem of a file or folder of dialogues in one report, with the row, the value found and what to
do.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from helpers.data.dialogues import merge_annotators
from helpers.data.file_checks import OTHER_DELIMITER, CheckedFile, Located, check_file, speakers, warnings_of
from helpers.data.findings import WARNING, Finding, Report, finding_of, problem_of, visible
from helpers.data.lengths import token_lengths
from helpers.data.loading import WHOLE, load_dialogues, split_files
from helpers.data.records import SUFFIXES, DataError
from helpers.data.splits import dialogue_key
from helpers.progress import progress

KNOWN_SPEAKERS = ("#Person1#", "#Person2#")
AT_ONCE = 500  # rows whose tokens are counted together; fewer need no bar


def inspect_dialogues(place: str | Path, settings, tokenizer=None, show_progress: bool = True) -> Report:
    """Every problem of the data in a file, or in a folder with one file a split.

    Errors are what `load_dialogues` would stop at, by its own rules: data without errors load, and data that load have
    none. Warnings are about what loads and should still be looked at.

    Args:
        settings: whose lengths the rows must fit into; its own data do not matter.
        tokenizer: counts the tokens; without one lengths are not looked at.
    """
    place = Path(place).expanduser().resolve()
    files, findings = _files(place)
    checked = [check_file(path, split) for split, path in files]
    findings += chain.from_iterable(file.findings for file in checked)
    findings += _left_to_find(place, settings, findings)
    counted = sum(len(file.rows) for file in checked)
    with progress(
        total=counted, desc="looking at rows", unit="row", disable=not show_progress or counted < AT_ONCE
    ) as bar:
        for file in checked:
            findings += chain(_row_warnings(file, bar), _speaker_warnings(file), _long_rows(file, settings, tokenizer))
    findings += _repeated(checked)
    return Report(
        sorted(findings, key=lambda finding: (finding.source, finding.line)), sum(file.count for file in checked)
    )


def _files(place):
    """([(split, path)], findings about the folder)."""
    try:
        return list(split_files(place).items()), []
    except DataError as error:
        there = [path for path in _entries(place) if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
        return [(path.stem, path) for path in there], [finding_of(problem_of(error, place))]


def _left_to_find(place, settings, findings):
    """What only the loader itself can tell, after all files were read: too few rows, a column that cannot be stored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bad rows are among the findings
            load_dialogues(replace(settings, data=str(place), data_revision=None), on_bad_rows="report")
    except DataError as error:
        said = str(error).splitlines()[-1].strip()
        source = next(
            (Path(path) for path in sorted(_paths(place), key=len, reverse=True) if said.startswith(path)), place
        )
        found = finding_of(problem_of(error, source))
        if any(one.source == found.source and OTHER_DELIMITER in one.what for one in findings):
            return []  # the loader's fault follows from this one
        if not any((one.source, one.line, one.column) == (found.source, found.line, found.column) for one in findings):
            return [found]
    return []


def _paths(place):
    return [str(place), *map(str, _entries(place))]


def _entries(place):
    """What lies in a folder, in order; nothing where it is none, or may not be read."""
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _warning(file: CheckedFile, at: Located | None, column: str, value: object, what: str, remedy: str) -> Finding:
    line, record = (at.line, at.record) if at else (0, 0)
    return Finding(
        WARNING, visible(file.path.name, 80), line, record, column, visible(value), visible(what, 300), remedy
    )


def _row_warnings(file, bar) -> Iterator[Finding]:
    for at in file.rows:
        bar.update()
        for column, what, remedy in warnings_of(at.row):
            number = column.removeprefix("summary").strip()
            value = at.row["dialogue"] if column == "dialogue" else at.row["summaries"][int(number or 1) - 1]
            yield _warning(file, at, column, value, what, remedy)


def _speaker_warnings(file) -> Iterator[Finding]:
    names = Counter(name for at in file.rows for name in speakers(at.row["dialogue"]))
    if names and not set(names) & set(KNOWN_SPEAKERS):
        usual = ", ".join(name for name, _ in names.most_common(4))
        yield _warning(
            file,
            None,
            "dialogue",
            usual,
            f"speakers have other names than {' and '.join(KNOWN_SPEAKERS)}",
            "nothing, with a large model; the kit's small one has met these two only",
        )


def _long_rows(file, settings, tokenizer) -> Iterator[Finding]:
    """Rows that `fitting_dialogues` leaves out, and references in a test split that no completion can reach."""
    for first in range(0, len(file.rows) if tokenizer else 0, AT_ONCE):
        some = file.rows[first : first + AT_ONCE]
        for at, length in zip(some, token_lengths([at.row for at in some], tokenizer)):
            for column, what in length.too_long(settings, "train"):
                spared = column == "summary" and file.split not in ("train", "validation")
                yield _warning(
                    file,
                    at,
                    column,
                    at.row[column],
                    what,
                    "shorten it, or raise the setting; "
                    + (
                        "in a test split it stays, and no completion can reach its length"
                        if spared
                        else "otherwise the labs leave the row out"
                    ),
                )


def _repeated(checked: Sequence[CheckedFile]) -> Iterator[Finding]:
    """Dialogues that occur again: in another split, which leaks what is tested into the training, or in the same
    file.
    """
    places = defaultdict(list)
    for file in checked:
        single = Counter(dialogue_key(row["dialogue"]) for row in merge_annotators([at.row for at in file.rows]))
        for at in file.rows:
            key = dialogue_key(at.row["dialogue"])
            if single[key] > 1 or not any(
                known is file for known, _ in places[key]
            ):  # rows of several annotators become one
                places[key].append((file, at))
    for (first, at_first), *others in (found for found in places.values() if len(found) > 1):
        for file, at in others:
            where = f"line {at_first.line}" if file is first else f"line {at_first.line} of {visible(first.path.name)}"
            if file is first:
                yield _warning(
                    file,
                    at,
                    "dialogue",
                    at.row["dialogue"],
                    f"is the dialogue of {where} too",
                    "several summaries of it? Put them into columns summary1, summary2; else delete one"
                    + ("; rows of one dialogue stay in one split" if file.split is WHOLE else ""),
                )
            else:
                yield _warning(
                    file,
                    at,
                    "dialogue",
                    at.row["dialogue"],
                    f"stands in another split too, in {where}",
                    "delete one of the two: what is measured on must not be trained on",
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m helpers.data.inspection FILE`: prints the report; 1 if there are errors."""
    from helpers.models.loading import load_tokenizer
    from helpers.settings import load_settings

    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if len(arguments) != 1:
        print("usage: python -m helpers.data.inspection FILE_OR_FOLDER", file=sys.stderr)
        return 2
    settings = load_settings()
    report = inspect_dialogues(arguments[0], settings, load_tokenizer(settings))
    sys.stdout.reconfigure(errors="replace")
    print(report)
    return int(bool(report.errors))


if __name__ == "__main__":
    sys.exit(main())
