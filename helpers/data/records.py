"""Records: reads CSV, TSV and JSONL files, each row with its line, and names faults with file, row and column."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".jsonl", ".csv", ".tsv")
LISTED = 20  # bad rows that a message lists one by one


class DataError(ValueError):
    """Data that cannot be used; the last line of the message names the file, with row and column where there is one."""


class Row(NamedTuple):
    """One row of a source: the line of the file on which it starts (1-based), and its values by column."""

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
    """The rows of a file in UTF-8 (with or without a byte order mark; any newlines), and the lines that are no rows.

    Raises:
        DataError: no such file, unknown ending, 0 bytes, not UTF-8, no header, a quote that never closes.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"a file of dialogues ends in {', '.join(SUFFIXES)} (one JSON object a line, or a table with a "
            f"header)\n{path}: ends in {path.suffix or 'nothing'!r}"
        )
    return parse_rows(path, _read_text(path))


def parse_rows(path: Path, text: str, delimiter: str | None = None) -> tuple[list[Row], list[Problem]]:
    """The rows of a text that has been read from `path` already; a table's delimiter is looked up where none is given.

    Raises:
        DataError: as `read_rows`.
    """
    is_json = path.suffix.lower() == ".jsonl"
    rows, problems = (
        _read_json_lines(path, text) if is_json else _read_table(path, text, delimiter or _delimiter(path, text))
    )
    if not rows and not problems:
        raise DataError(f"{path}: has no rows" + ("" if is_json else " below its header"))
    return rows, problems


def _read_text(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not content:
        raise DataError(f"{path}: is empty (0 bytes); was it saved or copied completely?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(
            f'a file of dialogues must be saved as UTF-8 (in a spreadsheet: "CSV UTF-8"){guess}\n'
            f"{path}, row {line}: byte {content[error.start]:#04x} at offset {error.start} is not UTF-8"
        ) from None


def _read_json_lines(path, text):
    rows, problems = [], []
    # Not splitlines(): it also splits at characters such as U+2028, which may stand inside a JSON string.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except json.JSONDecodeError as error:
            problems.append(Problem(str(path), line, "", f"is not JSON: {error.msg} at character {error.colno}"))
            continue
        except (ValueError, RecursionError):  # what Python refuses to read, because it could take forever
            problems.append(
                Problem(str(path), line, "", "holds a number of thousands of digits, or is nested too deeply")
            )
            continue
        if isinstance(values, dict):
            rows.append(Row(line, values))
        else:
            problems.append(Problem(str(path), line, "", f"is a JSON {type(values).__name__}, not an object in {{}}"))
    return rows, problems


def _delimiter(path, text):
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = text.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","  # spreadsheets write semicolons in half of Europe


def _read_table(path, text, delimiter):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, problems, header, line = [], [], None, 1
    try:
        for fields in reader:
            start, line = line, reader.line_num + 1  # a quoted field may hold newlines: a row can take several lines
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = _checked_header(path, start, fields)
            elif len(fields) != len(header):
                what = f"has {len(fields)} fields, the header has {len(header)}; a text with a comma needs quotes"
                problems.append(Problem(str(path), start, "", what))
            else:
                rows.append(Row(start, dict(zip(header, fields))))
    except csv.Error as error:
        raise DataError(
            f'a quote that opens a field must also close it, and a quote inside a text is doubled ("")\n'
            f"{path}, row {line}: {error}"
        ) from None
    if header is None:
        raise DataError(f"{path}: holds blank lines only")
    return rows, problems


def _checked_header(path, line, fields):
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


def require_columns(rows: Sequence[Row], source: str, columns: Iterable[str], remedy: str = "") -> None:
    """Raises DataError if a column is in none of the rows; the message names the columns that were found."""
    found = list(dict.fromkeys(name for row in rows for name in row.values))
    for column in columns:
        if rows and column not in found:
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
