"""Checks of a file of dialogues: what the loader would stop at, and what is suspicious in rows that it would take.

A file is read as the loader reads it; where that would stop, this goes on to find what else is wrong.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.data.dialogues import LAST_MESSAGE, MESSAGES, Layout, check_rows, ends_with_answer, with_dialogue
from helpers.data.findings import Finding, finding_of, problem_of, visible
from helpers.data.records import (
    PARQUET,
    SUFFIXES,
    TABLES,
    DataError,
    Problem,
    Row,
    delimiter_of,
    parse_rows,
    read_rows,
    require_columns,
)
from helpers.data.splits import dialogue_key
from helpers.data.tables import stated_delimiter
from helpers.data.words import list_words

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}
OTHER_DELIMITER = "its names are separated by"
USUAL_NAMES = {
    "dialogue": ("dialog", "conversation", "transcript", "chat", "text", "article", "document", "input", "prompt"),
    "summary": ("summaries", "abstract", "highlights", "reference", "target", "output", "completion", "response"),
}
TURNS = {"speaker", "role", "turn", "turn_id", "utterance", "utterance_id"}  # columns of files with one row a turn
SENDERS, SENT = {"user", "username", "sender", "author", "from"}, {"text", "message", "content", "body"}  # of messages
JOIN = "join the turns of each dialogue into one text, a turn on each line, in a column 'dialogue'"
# Repetitions have an upper bound everywhere, so that no text can make the search take long.
DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?(?:[ \u00a0\u202f]?[AaPp]\.?[Mm]\.?)?"
# "[12/03/24, 10:15] " of WhatsApp, "00:01:23 " of Zoom: what may stand before the name of a speaker
STAMP = rf"\u200e?[\[(]?(?:{DATE},?[ T]{{1,3}})?{TIME}[\])]?[ \t]{{0,3}}(?:[-–][ \t]{{0,3}})?"
SPEAKER = re.compile(rf"^[ \t]{{0,20}}(?:{STAMP}|(?!{STAMP}))([^:\n]{{1,40}}):[ \t]{{0,20}}\S", re.MULTILINE)
PLACEHOLDER = re.compile(
    r"(todo|tbd|tba|n/?a|none|null|nan|x{2,20}|summary|(lorem ipsum|fill in|to be (done|written|added))\b.{0,80})?",
    re.IGNORECASE | re.DOTALL,
)
LEAST_TURNS, LEAST_WORDS, LEAST_SUMMARY_WORDS = 2, 8, 3


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
    """All that is wrong with one file by the loader's own rules; after a fault that stops the loader, by the best guess
    at what was meant.

    Args:
        split: train, validation …; None for a single file.
    """
    rows, unreadable, findings = _read(path)
    lines = sorted({row.line for row in rows} | {problem.line for problem in unreadable})
    records = {line: number for number, line in enumerate(lines, start=1)}
    raw = _lines(path) if unreadable else []
    findings += [
        finding_of(problem, records[problem.line], raw[problem.line - 1] if problem.line <= len(raw) else "")
        for problem in unreadable
    ]
    rows, missing = _named(rows, path)
    findings += missing
    try:
        checked = check_rows(rows, str(path), split or "row")
    except DataError as error:  # a column is missing, which is among the findings
        return CheckedFile(path, split, [], len(lines), findings or [finding_of(problem_of(error, path))])
    values = {row.line: row.values for row in rows}
    single_turns = _have_turns(name for row in rows for name in row.values)
    for problem in checked.problems:
        value = values[problem.line].get(problem.column.partition("[")[0])
        remedy = JOIN if single_turns and "is the id of row" in problem.what else ""
        findings.append(finding_of(problem, records[problem.line], value, remedy))
    bad = {problem.line for problem in checked.problems}
    good = [row.line for row in rows if row.line not in bad]
    located = [Located(line, records[line], record) for line, record in zip(good, checked.records, strict=True)]
    return CheckedFile(path, split, located, len(lines), findings)


def _have_turns(names):
    return any(name.strip().casefold() in TURNS for name in names)


def _read(path):
    """(rows, lines that are none, findings about the file as a whole)."""
    text, unread = "", []  # and what is said of a table that cannot be read
    try:
        rows, unreadable, findings = *read_rows(path), []
    except DataError as error:
        findings = [finding_of(problem_of(error, path))]
        if path.suffix.lower() not in set(SUFFIXES) - {PARQUET} or not path.is_file():
            return [], [], findings
        try:
            text, others = _guessed(path.read_bytes())
        except OSError:  # it may not be read, as the finding says
            return [], [], findings
        findings = [
            finding_of(Problem(str(path), line, "", "is not UTF-8"), value=value) for line, value in others
        ] or findings
        try:
            rows, unreadable = parse_rows(path, text)
        except DataError as second:
            rows, unreadable, unread = [], [], [finding_of(problem_of(second, path))]
            findings = [] if str(second) == str(error) else findings
    if path.suffix.lower() not in TABLES:
        return rows, unreadable, [*findings, *unread]
    text = text or _guessed(path.read_bytes())[0]
    meant = _meant_delimiter(rows, path, text)
    if meant is None:
        return rows, unreadable, [*findings, *unread]
    what = f"the header names no column 'dialogue': {OTHER_DELIMITER} {DELIMITERS[meant]}"
    remedy = (
        "export the table with commas"
        if path.suffix.lower() == ".csv"
        else "call the file .csv and separate its columns by commas"
    )
    findings.append(finding_of(Problem(str(path), 1, "", what), value=_header(text), remedy=remedy))
    try:
        return *parse_rows(path, text, meant), findings
    except DataError as error:
        return [], [], [*findings, finding_of(problem_of(error, path))]


def _guessed(content):
    """(text, [(line, what stands there)] of lines that are not UTF-8): by the most likely encoding, where it is not
    UTF-8.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace"), [(1, "a mark of UTF-16")]
    others = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            others.append(
                (number, line[max(0, error.start - 20) : error.start + 20].decode("cp1252", errors="replace"))
            )
    return (content.decode("cp1252", errors="replace") if others else content.decode("utf-8")), others


def _lines(path):
    ends = r"\r\n?|\n" if path.suffix.lower() in TABLES else "\n"
    return re.split(ends, _guessed(path.read_bytes())[0])


def _header(text):
    return re.split("[\r\n]", stated_delimiter(text.lstrip("\ufeff"))[0].lstrip("\r\n"), maxsplit=1)[0]


def _meant_delimiter(rows, path, text):
    """The delimiter that the header's names are separated by, if the loader takes another one and so finds no name that
    it knows, or no row.
    """
    known = {"dialogue", "summary", *MESSAGES, *(name for names in USUAL_NAMES.values() for name in names)}
    names = list(rows[0].values) if rows else _header(text).split(delimiter_of(path, text.lstrip("\ufeff")))

    def found(mark):
        return known & {part.strip(' "').casefold() for name in names for part in name.split(mark)}

    return None if found("\n") else next(filter(found, DELIMITERS), None)


def _named(rows, path):
    """(rows with the names that the loader wants, findings about names that are missing or spelled otherwise)."""
    findings, renamed, read = [], {}, with_dialogue(rows)
    names = list(dict.fromkeys(name for row in read for name in row.values))
    known = {name.strip().casefold(): name for name in reversed(names)}
    there = set(known)
    messages = SENDERS & there and SENT & there and not there & {"summary", *USUAL_NAMES["summary"]}
    for column in ("dialogue", *Layout.of(read).summaries):
        try:
            require_columns(read, str(path), [column], own=rows)
        except DataError as error:
            near = known.get(column)
            single_turns = column == "dialogue" and not near and _have_turns(names)
            likely = (
                near
                or next((known[name] for name in USUAL_NAMES.get(column, ()) if name in known), None)
                or next(iter(difflib.get_close_matches(column, names, 1)), None)
            )
            remedy = f"rename the column {visible(likely)!r} to {column!r}" if likely else f"add a column {column!r}"
            remedy = JOIN if single_turns else remedy
            if column == "dialogue" and not near and messages:
                remedy = f"one row is one message: {JOIN}"
            if column == "summary" and not likely and ends_with_answer(rows):
                remedy = f"{remedy}; {LAST_MESSAGE}"
            findings.append(finding_of(problem_of(error, path), remedy=remedy))
            renamed |= {near: column} if near else {}
    return [
        Row(row.line, {renamed.get(name, name): value for name, value in row.values.items()}) for row in rows
    ] if renamed else rows, findings


class Sign(NamedTuple):
    """Something suspicious in a text: what it looks like, and what to do about it."""

    pattern: re.Pattern
    what: str
    remedy: str


# UTF-8 bytes of accented letters and of curly quotes, read as Windows' 1252; and the sign for a letter that could not
# be read
MISREAD = re.compile("[ÂÃ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œž¦“”˜]?|\ufffd")
# Characters back to bytes, by Windows' 1252, and by Latin-1 where it leaves a byte undefined
BYTES = str.maketrans({bytes([byte]).decode("cp1252", "ignore") or chr(byte): chr(byte) for byte in range(0x80, 0xA0)})
BYTE_RUN = re.compile("[\u0080-\u00ff]{2,}")
# Right text whose bytes are UTF-8 by chance: "Spaß“", "CAFÉ…", "été »" with a hard blank, "STÍŽNOST", "2×½"
CLOSING = "[\u00a0…‘’“”‹›«»–—™®°²³·•]"
BY_CHANCE = re.compile(
    f"[À-ÃÆ-ß]{CLOSING}|(?<![a-z])[ÄÅ](?:\u00a0|{CLOSING}(?![a-z]))|[à-ï]{CLOSING}{{2}}|[À-Þ][ŠŽŒ]|[×Øß][½¼¾]"
)
SIGNS = (
    Sign(
        re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>|&(?:nbsp|amp|lt|gt|quot|#\d{2,5});"),
        "has HTML in it",
        "remove tags, write &amp; and the like as characters",
    ),
    Sign(
        re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"),
        "has an e-mail address in it",
        "replace it, or ask the person",
    ),
    Sign(
        re.compile(
            r"(?<![\w.])(?:\+\d(?:[ ()/-]{0,2}\d){7,13}|0(?:[ ()-]{0,2}\d){8,13}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?!\w)"
        ),
        "has what looks like a telephone number in it",
        "replace it, or ask the person",
    ),
    Sign(
        re.compile(r"\A[=@+-] ?[A-Za-z]{1,30}\("),
        "is a formula for a spreadsheet, which would compute it",
        "put a word before it",
    ),
    Sign(
        re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]"),
        "has invisible characters that steer a terminal or turn the text around",
        "remove them",
    ),
)


class Warned(NamedTuple):
    """One warning about a row in the kit's form."""

    column: str
    what: str
    remedy: str


def warnings_of(record: dict) -> Iterator[Warned]:
    """What is suspicious in one row; nothing of it keeps the row from being loaded.

    Args:
        record: a row as `helpers.data.dialogues.check_rows` gives it.
    """
    texts = {
        "dialogue": record["dialogue"],
        **{
            f"summary {number}" if number > 1 else "summary": text for number, text in enumerate(record["summaries"], 1)
        },
    }
    for column, text in texts.items():
        if found := misread(text):
            yield Warned(
                column,
                f"has letters that were read in the wrong encoding, {found.strip()[:30]!r}",
                "save the source again as UTF-8 and export it anew",
            )
        for sign in SIGNS:
            if found := sign.pattern.search(text):
                yield Warned(column, f"{sign.what}, {found[0].strip()[:30]!r}", sign.remedy)
        yield from (
            _dialogue_warnings(text) if column == "dialogue" else _summary_warnings(column, text, record["dialogue"])
        )


def misread(text: str) -> str:
    """The first letters that stand for others; "" where there are none.

    "Ã¼" stands for "ü" where UTF-8 was read as Windows' 1252 or as Latin-1: taken as bytes again, it is UTF-8.
    """
    if text.isascii():
        return ""
    if found := MISREAD.search(text):
        return found[0]
    for run in BYTE_RUN.finditer(text.translate(BYTES)):
        try:
            run[0].encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            continue
        right = BY_CHANCE.match(text, run.start())
        if not right or right.end() < run.end():
            return text[run.start() : run.end()]
    return ""


def speakers(dialogue: str) -> list[str]:
    """Who speaks, in the order of first appearance: what stands before a colon at the beginning of a line, without a
    time.
    """
    return list(dict.fromkeys(name.strip() for name in SPEAKER.findall(dialogue)))


def _counted(count, name):
    return f"{count} {name}{'' if count == 1 else 's'}"


def _dialogue_warnings(text):
    turns, spoken = [line for line in text.split("\n") if line.strip()], len(list_words(text))
    if len(turns) < LEAST_TURNS and spoken >= LEAST_WORDS:
        yield Warned("dialogue", "stands on one line", "put each turn on a line of its own, as name: what is said")
        return
    if len(turns) < LEAST_TURNS or spoken < LEAST_WORDS:
        what = f"is very short: {_counted(len(turns), 'turn')}, {_counted(spoken, 'word')}"
        yield Warned("dialogue", what, "is it whole?")
    named = sum(bool(SPEAKER.match(line)) for line in turns)
    if 2 * named < len(turns):
        yield Warned(
            "dialogue",
            f"names a speaker on {named} of {len(turns)} lines",
            'write each turn on a line of its own, as "name: what is said"',
        )
    elif len(turns) >= LEAST_TURNS and len(speakers(text)) < 2:
        yield Warned("dialogue", "has one speaker only", "is it whole?")


def _summary_warnings(column, text, dialogue):
    said = list_words(text)
    if PLACEHOLDER.fullmatch(text.strip(string.punctuation + string.whitespace + "…–—")):
        yield Warned(column, "holds the place of a summary", "write it, or delete the row")
    elif len(said) < LEAST_SUMMARY_WORDS:
        yield Warned(column, f"is very short: {_counted(len(said), 'word')}", "is it whole?")
    elif dialogue_key(text) in dialogue_key(dialogue):
        yield Warned(column, "is copied from the dialogue word by word", "write a summary: a model would learn to copy")
    elif len(said) > len(list_words(dialogue)):
        yield Warned(column, "is longer than its dialogue", "are the columns exchanged?")
