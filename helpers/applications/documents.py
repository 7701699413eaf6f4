"""Documents to ask about: the kit's own pages, cut into chunks that overlap, and questions with known places."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUESTIONS = Path(__file__).with_name("questions.json")
PACKAGE = "genai-lab-kit"
LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)")
RULER = re.compile(r"^\|[-|: ]+\|$")
HEADING = re.compile(r"^#{1,6} (.+)$")
WORD = re.compile(r"[\w:.]*\w")


class DocumentError(ValueError):
    """Documents or questions that cannot be used; the message names them and says what to do."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a document: the file's name, the heading above it, its text."""

    document: str
    heading: str
    text: str

    @property
    def titled(self) -> str:
        """The text below its heading, as it is searched and read."""
        return f"{self.heading}\n{self.text}"


@dataclass(frozen=True)
class Question:
    """A question about a document: the place that answers it, and what a right answer holds.

    Attributes:
        document, heading: where the answer stands; quote: words of that place, white space aside.
        answers: texts of which a right answer holds at least one.
    """

    question: str
    document: str
    heading: str
    quote: str
    answers: tuple[str, ...]

    def is_answered_by(self, text: str) -> bool:
        """Whether a text holds one of the answers, in whatever case."""
        return any(plain(answer).lower() in plain(text).lower() for answer in self.answers)


def plain(text: str) -> str:
    """A text without backticks and stars of Markdown, on one line."""
    return " ".join(re.sub(r"[`*]", "", text).split())


def load_documents(folder: Path | str | None = None) -> dict[str, str]:
    """{name: text} of the Markdown and text files in a folder, in the order of their names.

    Args:
        folder: without one the kit's own pages, in `docs/` or where pip has put them.
    Raises:
        DocumentError: no such folder, no such file in it, or a file that is not UTF-8.
    """
    if folder is None and not DOCS.is_dir():
        try:
            found = [file.locate() for file in files(PACKAGE) or () if file.match("genai-lab-kit/docs/*.md")]
        except PackageNotFoundError:
            found = []
        remedy = "install the kit again, or give load_documents a folder of yours"
    else:
        place = Path(DOCS if folder is None else folder)
        if not place.is_dir():
            raise DocumentError(f"{place}: is no folder; give one that holds .md or .txt files")
        found = [path for path in place.iterdir() if path.suffix.lower() in (".md", ".txt")]
        remedy = f"put some into {place}"
    if not found:
        raise DocumentError(f"documents: no .md or .txt file was found; {remedy}")
    texts = {}
    for path in sorted(map(Path, found)):
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise DocumentError(f"{path}: is not UTF-8; save it as UTF-8 text") from None
    return texts


def sections(text: str) -> list[tuple[str, list[str]]]:
    """(heading, lines) of each part of a Markdown text; links keep their words alone, tables have no rulers."""
    found = [("", [])]
    for line in text.splitlines():
        if heading := HEADING.match(line):
            found.append((plain(heading[1]), []))
        elif line.strip() and not RULER.match(line.strip()):
            found[-1][1].append(plain(LINK.sub(r"\1", line)).strip("| "))
    return [(heading, lines) for heading, lines in found if lines]


def chunk_documents(documents: Mapping[str, str], tokenizer, max_tokens: int = 128, overlap: int = 32) -> list[Chunk]:
    """Chunks of at most `max_tokens` tokens, cut between words; each begins with the last `overlap` tokens of the one
    before it, and none goes across a heading.

    Args:
        tokenizer: counts the tokens, such as that of the encoder.
    Raises:
        DocumentError: an overlap that is not smaller than half of a chunk.
    """
    if not 0 <= overlap <= max_tokens // 2:
        raise DocumentError(f"overlap={overlap!r}: it must lie between 0 and half of max_tokens={max_tokens!r}")
    chunks = []
    for name, text in documents.items():
        for heading, lines in sections(text):
            words = " \n ".join(lines).split(" ")
            counts = [len(ids) for ids in tokenizer(words, add_special_tokens=False)["input_ids"]]
            room = max(overlap + 1, max_tokens - len(tokenizer(heading)["input_ids"]))  # special tokens included
            for first, last in windows(counts, room, overlap):
                chunks.append(Chunk(name, heading, " ".join(words[first:last]).replace(" \n ", "\n").strip()))
    return [chunk for chunk in chunks if chunk.text]


def windows(counts: Sequence[int], size: int, overlap: int) -> list[tuple[int, int]]:
    """(first, last) of each window over words of so many tokens: at most `size` tokens, or one word; the next window
    begins at most `overlap` tokens before the end of the one before.
    """
    found, first = [], 0
    while first < len(counts):
        last, used = first + 1, counts[first]
        while last < len(counts) and used + counts[last] <= size:
            used, last = used + counts[last], last + 1
        found.append((first, last))
        if last == len(counts):
            break
        start, shared = last, 0
        room = min(overlap, size - counts[last])  # the next window must hold a word more
        while start - 1 > first and shared + counts[start - 1] <= room:
            start, shared = start - 1, shared + counts[start - 1]
        first = start
    return found


def load_questions() -> list[Question]:
    """The questions about the kit's own pages, as people ask them, each with its place."""
    rows = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    return [Question(**row | {"answers": tuple(row["answers"])}) for row in rows]


def relevant_chunks(question: Question, chunks: Sequence[Chunk]) -> list[int]:
    """The numbers of the chunks that hold the question's place: its document, its heading, its words.

    Raises:
        DocumentError: there is none.
    """
    words = plain(LINK.sub(r"\1", question.quote))
    found = [
        number
        for number, chunk in enumerate(chunks)
        if (chunk.document, chunk.heading) == (question.document, question.heading) and words in plain(chunk.text)
    ]
    if not found:
        raise DocumentError(
            f"{question.question!r}: no chunk of {question.document}, {question.heading!r} holds {question.quote!r}; "
            "correct the place in questions.json, or cut longer chunks"
        )
    return found


def passages(chunk: Chunk) -> list[str]:
    """The rows of tables and the sentences of a chunk, those of fewer than four words left out."""
    found = []
    for line in chunk.text.split("\n"):
        found += [line] if " | " in line else re.split(r"(?<=[.!?]) ", line)
    return [text.strip() for text in found if len(text.split()) > 3]


def support(text: str, sources: Sequence[str], question: str = "") -> float:
    """The share of a text's words that stand in its sources: 1 where all do; words of the question, and those of three
    letters or fewer that are no numbers, do not count. A text without a word that counts has 1.
    """
    known = set(WORD.findall(plain(" ".join(sources)).lower()))
    asked = set(WORD.findall(plain(question).lower()))
    counted = [
        word
        for word in WORD.findall(plain(text).lower())
        if word not in asked and (len(word) > 3 or any(map(str.isdigit, word)))
    ]
    return sum(word in known for word in counted) / len(counted) if counted else 1.0
