"""Findings: one thing that is wrong with somebody's data each, as a report lists it: where, what was found, what to
do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from helpers.data.records import DataError, Problem
from helpers.display import table

ERROR, WARNING = "error", "warning"
COLUMNS = ("", "file", "line", "record", "column", "found", "problem", "what to do")
ALIKE = 5  # findings of one kind that a report lists; the others are counted
REMEDIES = {  # part of what the loader says -> what to do about it
    "is empty (0 bytes)": "save or copy the file again",
    "is empty": "write the text, or delete the row",
    "(type list), not a text": "write a text; the turns of a dialogue stand on a line each in it",
    "not a text": "write a text; a number needs quotes around it",
    "holds a list of": "write one text; several summaries stand in a column 'summaries'",
    "is no list of messages": "write a list of objects with role and content, as programs around chat models do",
    "begins like a list of messages": "write one text, with each turn on a line, as name: what is said",
    "begins like a list": "write the list again, or each summary into a column: summary1, summary2",
    "is the id of row": "give every row an id of its own, or delete the repeated row",
    "half a character": "write the character again; emoji are cut in two by careless programs",
    "in the rows before it is of type": "write values of one type throughout the column",
    "is not JSON": "one JSON object a line, written by a program",
    "a JSON": "one JSON object a line, in braces",
    "nested too deeply": "delete the line",
    "needs quotes": "put quotes around texts, or export the table again",
    "missing; columns found": "rename the column that holds it",
    "splitting into train, validation and test": "add dialogues, or give a folder with a file a split",
    "has no usable row": "add rows, or correct those that are listed",
    "is not UTF-8": 'save the file as UTF-8 (in a spreadsheet: "CSV UTF-8")',
    "names of the columns should stand": "put them into a line of their own above",
    "unpack it": "unpack it, and give the file inside",
    "export the sheet": 'export the sheet as "CSV UTF-8"',
    "put each dialogue": "put each dialogue into a row of a table, with its summary",
    "to_parquet": "load it with datasets and write it with to_parquet or to_json",
    "ends in": "write one of the endings that the kit reads",
    "cannot be read as parquet": "write or copy the file again",
    "is one object of columns": 'write the rows: in pandas with to_json(path, orient="records")',
    "is one object": "write the rows alone, as one array",
    "cannot be read (": "give yourself the right to read it, or copy it",
    "twice": "give every column a name of its own",
    "gives it no name": "give every column a name",
    "a second file of split": "keep one of them",
    "no file for": "rename the files, or give one file alone: it is split for you",
}


class Finding(NamedTuple):
    """One problem of a file.

    Attributes:
        severity: ERROR: the data cannot be loaded; WARNING: they can, and should be looked at.
        source: name of the file or folder.
        line: of the file, counted from 1; 0 where it is about the whole file.
        record: how many rows stand above it below the header, and itself: a spreadsheet's row less one; 0 for a whole
            file.
        column, value: where and what was found, shortened and with everything that does not print made visible.
        what, remedy: the problem, and what to do.
    """

    severity: str
    source: str
    line: int
    record: int
    column: str
    value: str
    what: str
    remedy: str

    def __str__(self):
        places = [
            self.source,
            f"line {self.line}" if self.line else "",
            f"record {self.record}" if self.record else "",
            f"column {self.column}" if self.column else "",
        ]
        found = f" (found: {self.value})" if self.value else ""
        return f"{self.severity}: {', '.join(filter(None, places))}: {self.what}{found}; {self.remedy}"

    @property
    def kind(self) -> str:
        """Equal for findings that differ in their numbers and names alone."""
        return f"{self.severity} {self.column} " + re.split(r"[:,(\d'\"]", self.what)[0].strip()


def visible(value, length: int = 60) -> str:
    """A value as one short line in which every character can be seen: newlines as ⏎, control characters by their
    number.
    """
    text = "" if value is None else value if isinstance(value, str) else repr(value)
    shown = "".join(
        letter if letter.isprintable() else "⏎" if letter == "\n" else letter.encode("unicode_escape").decode("ascii")
        for letter in text[:length]
    )
    return shown + ("…" if len(text) > length else "")


def finding_of(problem: Problem, record: int = 0, value: object = None, remedy: str = "") -> Finding:
    """A problem that keeps data from being loaded."""
    known = remedy or next(
        (text for part, text in REMEDIES.items() if part in problem.what), "correct it, or delete the row"
    )
    return Finding(
        ERROR,
        visible(Path(problem.source).name, 80),
        problem.line,
        record,
        visible(problem.column),
        visible(value),
        visible(problem.what.removesuffix(f"; {known}"), 300),
        known,
    )


def problem_of(error: DataError, source: Path) -> Problem:
    """What a DataError says in its last line, which names the file, and row and column where there are such."""
    said = str(error).splitlines()[-1].strip()
    found = (
        re.match(r"(?:, row (\d+))?(?:, column (.+?))?: (.+)", said[len(str(source)) :])
        if said.startswith(str(source))
        else None
    )
    return (
        Problem(str(source), int(found[1] or 0), found[2] or "", found[3])
        if found
        else Problem(str(source), 0, "", said)
    )


@dataclass(frozen=True)
class Report:
    """All findings about a file or a folder, and how many rows were looked at."""

    findings: Sequence[Finding]
    rows: int

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == WARNING]

    def headline(self) -> str:
        """How many rows, errors and warnings there are."""
        verdict = "cannot be loaded" if self.errors else "can be loaded"
        return f"{self.rows:,} rows looked at; {len(self.errors)} errors, {len(self.warnings)} warnings: {verdict}"

    def listed(self) -> list[Finding]:
        """Errors first, of each kind the first few; the last one of a kind says how many there are in all."""
        ordered, counts, taken = (
            self.errors + self.warnings,
            Counter(finding.kind for finding in self.findings),
            Counter(),
        )
        shown = []
        for finding in ordered:
            taken[finding.kind] += 1
            if taken[finding.kind] == ALIKE and counts[finding.kind] > ALIKE:
                finding = finding._replace(what=f"{finding.what} … {counts[finding.kind]} of this kind in all")
            if taken[finding.kind] <= ALIKE:
                shown.append(finding)
        return shown

    def show(self):
        """The findings as a table for a notebook; everything from the file is escaped."""
        return table(
            COLUMNS,
            [tuple("" if part == 0 else part for part in finding) for finding in self.listed()],
            self.headline(),
        )

    def __str__(self):
        return "\n".join([self.headline(), *map(str, self.listed())])
