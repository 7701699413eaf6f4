"""Faithfulness: words of a summary that are none, and facts that its dialogue does not hold.

It reads words, not meaning. A right name in the wrong role passes, and a correct paraphrase of a value ("a dozen" for
"twelve") does not. It says where to look, and how often; a reader says what is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helpers.data.loading import load_world

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
SENTENCE_START = re.compile(r"(?:^|[.!?:;]\s+|[-\n]\s*)\W*")
PLACEHOLDER = re.compile(r"#\w+#")
WORD_START, WORD_CHARACTER = re.compile(r"(?<!\w)\S"), re.compile(r"\w")


@dataclass(frozen=True)
class Faithfulness:
    """What was found in one summary.

    Attributes:
        broken: words that stand in no text that the model could have them from.
        supported, unsupported: values that the summary names; the dialogue holds the former and not the latter.
    """

    broken: tuple[str, ...]
    supported: tuple[str, ...]
    unsupported: tuple[str, ...]


def word_list(text: str) -> list[str]:
    """The words of a text in lower case, placeholders for people (#Person1#) and numbers left out."""
    return [word.replace("’", "'") for word in WORD.findall(PLACEHOLDER.sub(" ", text).lower())]


def lexicon_of(texts: Iterable[str]) -> frozenset[str]:
    """All words of the texts: what a model that was trained on them can be expected to spell."""
    return frozenset(word for text in texts for word in word_list(text))


def broken_words(summary: str, lexicon: frozenset[str], sources: Sequence[str]) -> list[str]:
    """Words of the summary that are neither in the lexicon nor in a source (its dialogue, its references).

    A rare word that is right, and new to both, counts too: with a lexicon of few texts the share is an upper bound.
    """
    known = lexicon_of(sources)
    return [word for word in word_list(summary) if not (word in lexicon or word in known)]


def names_and_numbers(text: str) -> list[str]:
    """What stands for a fact in any data: numbers, and words with a capital letter that begin no sentence."""
    text = PLACEHOLDER.sub(" ", text)
    starts = {match.end() for match in SENTENCE_START.finditer(text)}
    names = [
        match[0]
        for match in WORD.finditer(text)
        if match[0][0].isupper() and match.start() not in starts and match[0] != "I"
    ]
    return names + NUMBER.findall(text)


class _WholeWords:
    """Finds values as whole words of a text, the longest first; a pattern of thousands would take seconds to make."""

    def __init__(self, values):
        self.values = {value.lower() for value in values}
        self.lengths = sorted({len(value) for value in self.values}, reverse=True)

    def findall(self, text):
        found, free = [], 0  # what begins before `free` lies inside the last value
        for start in (match.start() for match in WORD_START.finditer(text)):
            ends = (start + length for length in self.lengths if start >= free)
            end = next(
                (end for end in ends if text[start:end] in self.values and not WORD_CHARACTER.match(text, end)), 0
            )
            if end:
                found.append(text[start:end])
                free = end
        return found


class FactChecker:
    """Compares the values that a summary names with those of its dialogue.

    Args:
        lexicon: words that may be used: `lexicon_of` the training split, and whatever else is known to be a word.
        values: {kind of dialogue: the values that a summary of that kind can name}: places, times, things …, as
            `load_world` gives them. Without values, names and numbers stand for them.
    """

    def __init__(self, lexicon: frozenset[str], values: Mapping[str, Sequence[str]] | None = None):
        self.lexicon = lexicon
        self.values = {kind: _WholeWords(found) for kind, found in (values or {}).items() if found}

    def check(self, summary: str, row: Mapping) -> Faithfulness:
        """One summary of a row with dialogue, summaries and, where values are known, scenario."""
        broken = broken_words(summary, self.lexicon, [row["dialogue"], *row.get("summaries", ())])
        values = self.values.get(row.get("scenario"))
        if values:
            named, held = values.findall(summary.lower()), set(values.findall(row["dialogue"].lower()))
        else:
            named = names_and_numbers(summary)
            said = set(word_list(row["dialogue"])) | set(NUMBER.findall(row["dialogue"]))
            held = {value for value in named if value.lower() in said}
        named = dict.fromkeys(named)
        return Faithfulness(
            tuple(broken),
            tuple(value for value in named if value in held),
            tuple(value for value in named if value not in held),
        )

    def per_dialogue(self, summaries: Sequence[str], rows: Sequence[Mapping]) -> dict[str, np.ndarray]:
        """Of N summaries: "broken" (N,) 1.0 where one has a broken word; "named" and "supported" (N,) counts of values.

        Raises:
            ValueError: not as many rows as summaries.
        """
        if len(summaries) != len(rows):
            raise ValueError(f"{len(summaries)} summaries but {len(rows)} rows; row i must be what summary i is about")
        found = [self.check(summary, row) for summary, row in zip(summaries, rows)]
        return {
            "broken": np.array([float(bool(each.broken)) for each in found]),
            "named": np.array([float(len(each.supported) + len(each.unsupported)) for each in found]),
            "supported": np.array([float(len(each.supported)) for each in found]),
        }


def load_fact_checker(settings, data) -> FactChecker:
    """The checker for a data set as `load_dialogues` gives it: words of its training split, and all words and values of
    its world where these are known.
    """
    world = load_world(settings)
    texts = (text for row in data["train"] for text in (row["dialogue"], row["summary"]))
    return FactChecker(lexicon_of(texts) | lexicon_of(world.words), world.values)
