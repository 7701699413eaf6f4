"""Row warnings: what is suspicious in a row that can be loaded: broken letters, tags, copied or missing summaries, people's addresses."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import NamedTuple

from helpers.evaluation.metrics import words
from helpers.data.splits import dialogue_key

# Repetitions have an upper bound everywhere, so that no text can make the search take long.
SPEAKER = re.compile(r"^[ \t]{0,20}([^:\n]{1,40}):[ \t]{0,20}\S", re.MULTILINE)
PLACEHOLDER = re.compile(r"(todo|tbd|tba|n/?a|none|null|nan|x{2,20}|summary|(lorem ipsum|fill in|to be (done|written|added))\b.{0,80})?", re.IGNORECASE | re.DOTALL)
LEAST_TURNS, LEAST_WORDS, LEAST_SUMMARY_WORDS = 2, 8, 3


class Sign(NamedTuple):
    """Something suspicious in a text: what it looks like, and what to do about it."""
    pattern: re.Pattern
    what: str
    remedy: str


SIGNS = (
    # UTF-8 bytes of accented letters and of curly quotes, read as Windows' 1252; and the sign for a letter that could not be read
    Sign(re.compile("[ÂÃ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œž¦“”˜]?|\ufffd"), "has letters that were read in the wrong encoding",
         "save the source again as UTF-8 and export it anew"),
    Sign(re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>|&(?:nbsp|amp|lt|gt|quot|#\d{2,5});"), "has HTML in it", "remove tags, write &amp; and the like as characters"),
    Sign(re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"), "has an e-mail address in it", "replace it, or ask the person"),
    Sign(re.compile(r"(?<![\w.])(?:\+\d(?:[ ()/-]{0,2}\d){7,13}|0(?:[ ()-]{0,2}\d){8,13}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?!\w)"), "has what looks like a telephone number in it", "replace it, or ask the person"),
    Sign(re.compile(r"\A[=@+-] ?[A-Za-z]{1,30}\("), "is a formula for a spreadsheet, which would compute it", "put a word before it"),
    Sign(re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]"), "has invisible characters that steer a terminal or turn the text around", "remove them"))


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
    texts = {"dialogue": record["dialogue"], **{f"summary {number}" if number > 1 else "summary": text for number, text in enumerate(record["summaries"], 1)}}
    for column, text in texts.items():
        for sign in SIGNS:
            if found := sign.pattern.search(text):
                yield Warned(column, f"{sign.what}, {found[0].strip()[:30]!r}", sign.remedy)
        yield from _dialogue_warnings(text) if column == "dialogue" else _summary_warnings(column, text, record["dialogue"])


def speakers(dialogue: str) -> list[str]:
    """Who speaks, in the order of first appearance: what stands before a colon at the beginning of a line."""
    return list(dict.fromkeys(name.strip() for name in SPEAKER.findall(dialogue)))


def _dialogue_warnings(text):
    turns, spoken = [line for line in text.split("\n") if line.strip()], len(words(text, stem=False))
    if len(turns) < LEAST_TURNS or spoken < LEAST_WORDS:
        yield Warned("dialogue", f"is very short: {len(turns)} turns, {spoken} words", "is it whole?")
    named = sum(bool(SPEAKER.match(line)) for line in turns)
    if 2 * named < len(turns):
        yield Warned("dialogue", f"names a speaker on {named} of {len(turns)} lines", "write each turn on a line of its own, as \"name: what is said\"")
    elif len(turns) >= LEAST_TURNS and len(speakers(text)) < 2:
        yield Warned("dialogue", "has one speaker only", "is it whole?")


def _summary_warnings(column, text, dialogue):
    said = words(text, stem=False)
    if PLACEHOLDER.fullmatch(text.strip(string.punctuation + string.whitespace + "…–—")):
        yield Warned(column, "holds the place of a summary", "write it, or delete the row")
    elif len(said) < LEAST_SUMMARY_WORDS:
        yield Warned(column, f"is very short: {len(said)} words", "is it whole?")
    elif dialogue_key(text) in dialogue_key(dialogue):
        yield Warned(column, "is copied from the dialogue word by word", "write a summary: a model would learn to copy")
    elif len(said) > len(words(dialogue, stem=False)):
        yield Warned(column, "is longer than its dialogue", "are the columns exchanged?")
