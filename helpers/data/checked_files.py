"""Checked files: reads a file of dialogues as the loader does, and where that would stop, goes on to find what else is wrong."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

from helpers.data.dialogues import Layout, check_rows
from helpers.data.findings import Finding, finding_of, problem_of, visible
from helpers.data.records import SUFFIXES, DataError, Problem, Row, parse_rows, read_rows, require_columns

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}
USUAL_NAMES = {"dialogue": ("dialog", "conversation", "transcript", "text", "chat", "messages"), "summary": ("summaries", "abstract", "reference", "target", "highlights")}


class Located(NamedTuple):
    """A row in the kit's form with its place: the line of the file, and its number among the rows, both from 1."""
    line: int
    record: int
    row: dict


class CheckedFile(NamedTuple):
    """What one file holds: rows that can be used, how many there are in all, and what is wrong with the others."""
    path: Path
    split: str | None
    rows: list[Located]
    count: int
    findings: list[Finding]


def check_file(path: Path, split: str | None) -> CheckedFile:
    """All that is wrong with one file by the loader's own rules; after a fault that stops the loader, by the best guess at what was meant.

    Args:
        split: train, validation …; None for a single file.
    """
    rows, unreadable, findings = _read(path)
    lines = sorted({row.line for row in rows} | {problem.line for problem in unreadable})
    records = {line: number for number, line in enumerate(lines, start=1)}
    raw = _lines(path) if unreadable else []
    findings += [finding_of(problem, records[problem.line], raw[problem.line - 1] if problem.line <= len(raw) else "") for problem in unreadable]
    rows, missing = _named(rows, path)
    findings += missing
    try:
        checked = check_rows(rows, str(path), split or "row")
    except DataError as error:      # a column is missing, which is among the findings
        return CheckedFile(path, split, [], len(lines), findings or [finding_of(problem_of(error, path))])
    values = {row.line: row.values for row in rows}
    findings += [finding_of(problem, records[problem.line], values[problem.line].get(problem.column.partition("[")[0])) for problem in checked.problems]
    bad = {problem.line for problem in checked.problems}
    good = [row.line for row in rows if row.line not in bad]
    located = [Located(line, records[line], record) for line, record in zip(good, checked.records, strict=True)]
    return CheckedFile(path, split, located, len(lines), findings)


def _read(path):
    """(rows, lines that are none, findings about the file as a whole)."""
    try:
        rows, unreadable, findings = *read_rows(path), []
        text = None
    except DataError as error:
        findings, text = [finding_of(problem_of(error, path))], None
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            return [], [], findings
        text, others = _guessed(path.read_bytes())
        findings = [finding_of(Problem(str(path), line, "", "is not UTF-8"), value=value) for line, value in others] or findings
        try:
            rows, unreadable = parse_rows(path, text)
        except DataError as second:
            return [], [], findings if str(second) == str(error) else [*findings, finding_of(problem_of(second, path))]
    meant = _meant_delimiter(rows, path)
    if meant is None:
        return rows, unreadable, findings
    what = f"the header names no column 'dialogue': its names are separated by {DELIMITERS[meant]}"
    remedy = "export the table with commas" if path.suffix.lower() == ".csv" else "call the file .csv and separate its columns by commas"
    findings.append(finding_of(Problem(str(path), 1, "", what), value="".join(rows[0].values), remedy=remedy))
    try:
        return *parse_rows(path, text or _guessed(path.read_bytes())[0], meant), findings
    except DataError as error:
        return [], [], [*findings, finding_of(problem_of(error, path))]


def _guessed(content):
    """(text, [(line, what stands there)] of lines that are not UTF-8): by the most likely encoding, where it is not UTF-8."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace"), [(1, "a mark of UTF-16")]
    others = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            others.append((number, line[max(0, error.start - 20):error.start + 20].decode("cp1252", errors="replace")))
    return (content.decode("cp1252", errors="replace") if others else content.decode("utf-8-sig")), others


def _lines(path):
    return _guessed(path.read_bytes())[0].split("\n")


def _meant_delimiter(rows, path):
    """The delimiter that the header's names are separated by, if the loader takes another one and so finds no dialogue."""
    if not rows or path.suffix.lower() == ".jsonl" or any(name.casefold() == "dialogue" for name in rows[0].values):
        return None
    header = "\0".join(rows[0].values)
    return next((mark for mark in DELIMITERS if "dialogue" in [name.strip(" \"\ufeff").casefold() for part in header.split("\0") for name in part.split(mark)]), None)


def _named(rows, path):
    """(rows with the names that the loader wants, findings about names that are missing or spelled otherwise)."""
    findings, renamed = [], {}
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    for column in ("dialogue", *Layout.of(rows).summaries):
        try:
            require_columns(rows, str(path), [column])
        except DataError as error:
            near = next((name for name in names if name.strip().casefold() == column), None)
            likely = near or next((name for name in names if name.strip().casefold() in USUAL_NAMES.get(column, ())), None) or next(
                iter(difflib.get_close_matches(column, names, 1)), None)
            remedy = f"rename the column {visible(likely)!r} to {column!r}" if likely else f"add a column {column!r}"
            findings.append(finding_of(problem_of(error, path), remedy=remedy))
            renamed |= {near: column} if near else {}
    return [Row(row.line, {renamed.get(name, name): value for name, value in row.values.items()}) for row in rows] if renamed else rows, findings


