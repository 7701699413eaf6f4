"""Tables: CSV and TSV as programs and people write them: delimiters, quotes after blanks, empty columns at the end."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COLUMNS = ("dialogue", "summary", "summaries", "summary1", "id", "fname")  # one of them is in every header
LONGEST_NAME = 100  # characters; a longer field in the first row is a text, not the name of a column
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# A field may hold a whole book. Python's own limit is 131,072 characters; a C long has 32 bits on Windows.
MOST_CHARACTERS = 2**31 - 1


class QuoteError(ValueError):
    """A quote that is out of place; `line` is where its row starts."""

    def __init__(self, error: csv.Error, line: int):
        super().__init__(str(error))
        self.line = line


@contextmanager
def _long_fields() -> Iterator[None]:
    """Inside, Python's csv reads fields of any length."""
    before = csv.field_size_limit(MOST_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def stated_delimiter(text: str) -> tuple[str, str | None]:
    """(text with an empty first line, delimiter) where the first line is Excel's "sep=;"; else (text, None)."""
    found = re.match(r'"?sep=([^\r\n"])"?[;,\t ]*(?=[\r\n])', text, re.IGNORECASE)
    return (text[found.end() :], found[1]) if found else (text, None)


def likely_delimiter(text: str) -> str:
    """A comma, or a semicolon, which spreadsheets write in half of Europe: it separates the header's names."""
    header = re.split("[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]  # "\r" alone ends the lines of old Macs
    for delimiter in ",;":
        with _long_fields():
            names = next(csv.reader([header], delimiter=delimiter), [])
        if {name.strip().casefold() for name in names} & set(COLUMNS):
            return delimiter
    return ";" if ";" in header and "," not in header else ","


def split_table(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """[(line on which a row starts, its fields)], without blank rows and without empty columns at the end.

    Blanks between a delimiter and an opening quote are left out where every row can be read in that way.

    Raises:
        QuoteError: a quote that never closes, or closes too early.
    """
    rows = _split(text, delimiter, False)
    if any(re.match(' +"', field) for _, fields in rows for field in fields):
        with suppress(QuoteError):  # such as: d1,Hello, "Yes" is what she said
            rows = _split(text, delimiter, True)
    return _without_empty_end(rows)


def _split(text, delimiter, skip_blanks):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=skip_blanks, strict=True)
    rows, line = [], 1
    try:
        with _long_fields():
            for fields in reader:
                start, line = line, reader.line_num + 1  # a quoted field may hold newlines: a row can take many lines
                if any(field.strip() for field in fields):
                    rows.append((start, fields))
    except csv.Error as error:
        raise QuoteError(error, line) from None
    return rows


def _without_empty_end(rows):
    """Without the unnamed columns after the last name, as far as nothing stands in them: "a;b;;" has two columns."""
    if not rows:
        return rows
    names = max((place for place, name in enumerate(rows[0][1], 1) if name.strip()), default=0)
    return [
        (line, fields[:names] if not any(field.strip() for field in fields[names:]) else fields)
        for line, fields in rows
    ]


def is_data(fields: list[str]) -> bool:
    """Whether what stands where a header should be is a row of texts: none of its fields is a column of the kit."""
    if {field.strip().casefold() for field in fields} & set(COLUMNS):
        return False
    return any(
        len(field) > LONGEST_NAME or "\n" in field.strip() or re.match(r"[^:\n]{1,40}:[ \t]+\S", field.strip())
        for field in fields
    )
