"""Records: reads tables, JSON and parquet files, each row with its line, and names faults with file, row and column."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import parquet

from helpers.data.tables import NAMES, QuoteError, is_data, likely_delimiter, split_table, stated_delimiter

JSON, TABLES, PARQUET = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv"), ".parquet"
SUFFIXES = (*JSON[:1], *TABLES, *JSON[1:], PARQUET)
REMEDIES = {  # ending -> what to do with a file that is not read
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".7z"), "unpack it, and give the file inside"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), 'export the sheet as "CSV UTF-8"'),
    **dict.fromkeys((".txt", ".docx", ".srt", ".vtt"), "put each dialogue into a row of a table, with its summary"),
    ".arrow": "load it with datasets and write it with to_parquet or to_json",
}
LISTED = 20  # bad rows that a message lists one by one


class DataError(ValueError):
    """Data that cannot be used; the last line of the message names the file, with row and column where there is one."""


class Row(NamedTuple):
    """One row of a source: the line of the file on which it starts, and its values by column.

    Lines count from 1. In a JSON array and in parquet, which have no lines, it is the number of the row.
    """

    line: int
    values: dict


class Problem(NamedTuple):
    """What is wrong in one place; `column` may be empty."""

    source: str
    line: int
    column: str
    what: str

    def __str__(self):
        return f"{self.source}, row {self.line}{f', column {self.column}' if self.column else ''}: {self.what}"


def read_rows(path: str | Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a file, and the lines that are no rows. Texts are in UTF-8, with or without byte order marks.

    Raises:
        DataError: no such file, unknown ending, 0 bytes, not UTF-8, no header, a quote that never closes.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"a file of dialogues ends in {', '.join(SUFFIXES)} (JSON objects, or a table with a header)\n"
            f"{path}: ends in {path.suffix or 'nothing'!r}" + (f"; {REMEDIES[suffix]}" if suffix in REMEDIES else "")
        )
    return _read_parquet(path) if suffix == PARQUET else parse_rows(path, _read_text(path))


def parse_rows(path: Path, text: str, delimiter: str | None = None) -> tuple[list[Row], list[Problem]]:
    """The rows of a text that has been read from `path` already; a table's delimiter is looked up where none is given.

    Raises:
        DataError: as `read_rows`.
    """
    text = text.lstrip("\ufeff")  # byte order marks: two where a program added its own
    is_json = path.suffix.lower() in JSON
    rows, problems = _read_json(path, text) if is_json else _read_table(path, text, delimiter)
    if not rows and not problems:
        raise DataError(f"{path}: has no rows" + ("" if is_json else " below its header"))
    return rows, problems


def _read_parquet(path):
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]})") from None
    if not rows:
        raise DataError(f"{path}: has no rows")
    return [Row(number, values) for number, values in enumerate(rows, start=1)], []


def _read_text(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not content:
        raise DataError(f"{path}: is empty (0 bytes); was it saved or copied completely?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(content[: error.start + 1].splitlines())
        guess = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(
            f'a file of dialogues must be saved as UTF-8 (in a spreadsheet: "CSV UTF-8"){guess}\n'
            f"{path}, row {line}: byte {content[error.start]:#04x} at offset {error.start} is not UTF-8"
        ) from None


def _read_json(path, text):
    """One object a line, or one array of objects, however the file is called."""
    start = text.lstrip("\ufeff \t\r\n")
    try:
        whole = json.loads(start)
    except (ValueError, RecursionError) as error:  # several lines, or none that can be read, which is said of each line
        if re.match(r"\[\s*\{", start) and isinstance(error, json.JSONDecodeError):
            line = text[: len(text) - len(start)].count("\n") + error.lineno
            raise DataError(
                f"{path}, row {line}: is not JSON: {error.msg} at character {error.colno} of an array of objects"
            ) from None
        return _read_json_lines(path, text)
    if isinstance(whole, list) and any(isinstance(values, dict) for values in whole):
        return _checked_objects(path, enumerate(whole, start=1))
    if not isinstance(whole, dict):
        return _read_json_lines(path, text)
    for name, values in whole.items():
        if isinstance(values, list) and values and isinstance(values[0], dict) and "dialogue" in values[0]:
            raise DataError(
                f"a file of dialogues holds one JSON object a line, or one array of objects\n{path}: is one object; "
                f"write the list under {name!r} into a file of its own"
            )
    if _has_columns_first(whole):
        raise DataError(
            'a file of dialogues holds one JSON object a line, or one array of objects (pandas: orient="records")\n'
            f"{path}: is one object of columns, not of rows"
        )
    return _checked_objects(path, [(text[: len(text) - len(start)].count("\n") + 1, whole)])


def _has_columns_first(whole):
    """Whether an object is what `to_json` of pandas writes: {column: {number of the row: value}}."""
    columns = list(whole.values())
    alike = bool(columns) and all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns)
    return alike and bool(columns[0]) and ("dialogue" in whole or all(number.isdigit() for number in columns[0]))


def _checked_objects(path, numbered):
    """(rows, problems) of (line, value); a row is an object."""
    rows, problems = [], []
    for line, values in numbered:
        if isinstance(values, dict):
            rows.append(Row(line, values))
        else:
            problems.append(Problem(str(path), line, "", f"is a JSON {type(values).__name__}, not an object in {{}}"))
    return rows, problems


def _read_json_lines(path, text):
    found, problems = [], []
    # Not splitlines(): it also splits at characters such as U+2028, which may stand inside a JSON string.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip("\ufeff \t\r\n"):
            continue
        try:
            found.append((line, json.loads(content.lstrip("\ufeff"))))
        except json.JSONDecodeError as error:
            problems.append(Problem(str(path), line, "", f"is not JSON: {error.msg} at character {error.colno}"))
        except (ValueError, RecursionError):  # what Python refuses to read, because it would take forever
            problems.append(
                Problem(str(path), line, "", "holds a number of thousands of digits, or is nested too deeply")
            )
    rows, others = _checked_objects(path, found)
    return rows, sorted([*problems, *others], key=lambda problem: problem.line)


def delimiter_of(path: Path, text: str) -> str:
    """The delimiter by which the text of a table is read."""
    text, stated = stated_delimiter(text)
    return "\t" if path.suffix.lower() == ".tsv" else stated or likely_delimiter(text)


def _read_table(path, text, delimiter):
    delimiter = delimiter or delimiter_of(path, text)
    text, _ = stated_delimiter(text)
    try:
        table = split_table(text, delimiter)
    except QuoteError as error:
        raise DataError(
            f'a quote that opens a field must also close it, and a quote inside a text is doubled ("")\n'
            f"{path}, row {error.line}: {error}"
        ) from None
    if not table:
        raise DataError(f"{path}: holds blank lines only")
    header, rows, problems = _checked_header(path, *table[0]), [], []
    for line, fields in table[1:]:
        if len(fields) == len(header):
            rows.append(Row(line, dict(zip(header, fields))))
            continue
        mark = NAMES.get(delimiter, repr(delimiter))
        what = f"has {len(fields)} fields, the header has {len(header)}; a text with a {mark} needs quotes"
        problems.append(Problem(str(path), line, "", what))
    return rows, problems


def _checked_header(path, line, fields):
    if is_data(fields):
        raise DataError(
            "a table begins with the names of its columns, such as id,dialogue,summary\n"
            f"{path}, row {line}: has texts where the names of the columns should stand"
        )
    header = [field.strip() for field in fields]
    for number, name in enumerate(header, start=1):
        if not name and number == 1:
            header[0] = "index"  # pandas writes its row numbers under an empty name
        elif not name or header.index(name) != number - 1:
            raise DataError(
                f"{path}, row {line}, column {number}: the header "
                + (f"names {name!r} twice" if name else "gives it no name")
            )
    return header


def require_columns(
    rows: Sequence[Row], source: str, columns: Iterable[str], remedy: str = "", own: Sequence[Row] = ()
) -> None:
    """Raises DataError if a column is in none of the rows; the message names the columns that were found.

    Args:
        own: the rows as they stand in the source, where `rows` have columns that were made from others.
    """
    there = {name for row in rows for name in row.values}
    found = list(dict.fromkeys(name for row in own or rows for name in row.values))
    for column in columns:
        if rows and column not in there:
            raise DataError(
                (f"{remedy}\n" if remedy else "") + f"{source}, row {rows[0].line}, column {column}: "
                f"missing; columns found: {', '.join(found)}"
            )


def settle(problems: Sequence[Problem], rows: int, on_bad_rows: str = "error") -> None:
    """Raises on bad rows, or with on_bad_rows="report" warns of them; lists the first 20 either way, one a line.

    Args:
        rows: number of good rows, so that the message can give the share.
    Raises:
        DataError: there are problems and on_bad_rows is "error", or no good row is left.
        ValueError: on_bad_rows is neither "error" nor "report".
    """
    if on_bad_rows not in ("error", "report"):
        raise ValueError(f"on_bad_rows: {on_bad_rows!r} is not one of error, report")
    if not problems:
        return
    bad = len({(problem.source, problem.line) for problem in problems})
    rest = f"; the first {LISTED} of {len(problems)} faults are listed" if len(problems) > LISTED else ""
    listed = "\n".join(f"  {problem}" for problem in problems[:LISTED])
    if on_bad_rows == "report" and rows:
        warnings.warn(f"{bad} of {rows + bad} rows were left out{rest}:\n{listed}", stacklevel=3)
        return
    raise DataError(
        f"{bad} of {rows + bad} rows cannot be used{rest}. Correct them, or leave them out with "
        f'load_dialogues(settings, on_bad_rows="report"):\n{listed}'
    )
