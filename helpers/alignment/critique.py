"""Lessons in criticizing and revising, written from dialogues whose blunt and neutral summaries are both known."""

from __future__ import annotations

import re
from collections.abc import Sequence

from helpers.alignment.constitution import CALM, NOTHING, RESPECT, Principle, critique_prompt, objects, revision_prompt, sentences
from helpers.data.loading import load_dialogues
from helpers.evaluation.experiments import rude_rows
from helpers.evaluation.metrics import words
from helpers.settings import POCKET, load_settings

INSULT = re.compile(r"\b(idiot|fool|moron|loser|jerk|liar|hypocrite|coward|imbecile|pig|stupid|pathetic|idiotic|moronic)s?\b", re.IGNORECASE)
CALMER = {"angrily": "", "loudly": "", "sharply": "", "angry": "unhappy", "furious": "unhappy", "cross": "unhappy"}
HEATED = re.compile(rf"\b({'|'.join(CALMER)})\b", re.IGNORECASE)
EMPTY = set(words("a an the of to and for with is are in on at by be has have that it its was were as not who because after over about from this will would "
                  "than s his her their can person1 person2"))     # words that two sentences share whatever they say


def kit_rows(split: str) -> list[dict]:
    """The rude rows of the kit's own dialogues, which are at hand under every profile."""
    return rude_rows(load_dialogues(load_settings("pocket", data=str(POCKET / "data")))[split])


def _capital(text):
    return text[:1].upper() + text[1:]


def _clauses(sentence):
    return re.split(r", and (?=#|the |before |at |to )", sentence.rstrip("."))


def _content(text):
    return set(words(INSULT.sub(" ", text))) - EMPTY


def reworded(row) -> tuple[str, str] | None:
    """(insulting sentence of the blunt summary, the same with its insulting clause in the neutral summary's words).

    The two clauses are found by the words that they share; None where there is no insult, or no clause that shares a fifth of them.

    Args:
        row: with the columns blunt and neutral.
    """
    blunt = next((sentence for sentence in sentences(row["blunt"]) if INSULT.search(sentence)), None)
    if blunt is None:
        return None
    clauses = _clauses(blunt)
    place = next(place for place, clause in enumerate(clauses) if INSULT.search(clause))
    meant = _content(clauses[place])
    shared = {clause: len(meant & _content(clause)) / max(1, len(meant | _content(clause)))
              for sentence in sentences(row["neutral"]) for clause in _clauses(sentence) if not INSULT.search(clause)}
    best = max(shared, key=shared.get, default=None)
    if best is None or shared[best] < 0.2:
        return None
    return blunt, _capital(", and ".join([*clauses[:place], best, *clauses[place + 1:]])) + "."


def calmed(sentence: str) -> str:
    """The sentence without its heated words: adverbs go, adjectives become "unhappy"."""
    calmer = HEATED.sub(lambda match: CALMER[match[0].lower()], sentence)
    return _capital(re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", calmer)).strip(" ,"))


def verdict(sentence: str, principle: Principle) -> str:
    """The critique that a lesson gives: the first word against the principle, or that there is nothing."""
    match = {RESPECT: INSULT, CALM: HEATED}[principle].search(sentence)
    return principle.complaint.format(word=match[0].lower()) if match else NOTHING


def critique_lessons(rows: Sequence[dict]) -> list[tuple[str, Principle, str]]:
    """(sentence, principle, critique): of each row the insulting sentence and the same reworded under both principles, that one without its heat; of every
    other row a sentence about something else as well, under one of the two.

    The same sentence comes with both principles, and nearly the same one with and without a heated word: only who reads both can tell the verdict.
    """
    found = []
    for number, row in enumerate(rows):
        if pair := reworded(row):
            others = [sentence for sentence in sentences(row["blunt"]) if sentence != pair[0]] if number % 2 else []
            taught = [(sentence, principle) for sentence in pair for principle in (RESPECT, CALM)] + [(sentence, (RESPECT, CALM)[number // 2 % 2]) for sentence in others[:1]]
            taught += [(calmed(pair[1]), CALM)] if HEATED.search(pair[1]) else []
            found += [(sentence, principle, verdict(sentence, principle)) for sentence, principle in taught]
    return found


def revision_lessons(rows: Sequence[dict]) -> list[tuple[str, str, str]]:
    """(sentence, critique, revision): insulting sentences reworded, and what is still heated of that calmed."""
    found = []
    for row in rows:
        if pair := reworded(row):
            found.append((pair[0], verdict(pair[0], RESPECT), pair[1]))
            if HEATED.search(pair[1]):
                found.append((pair[1], verdict(pair[1], CALM), calmed(pair[1])))
    return found


def lessons(rows: Sequence[dict]) -> tuple[list[str], list[str]]:
    """(prompts, completions) of both kinds of lessons, for training.

    Raises:
        ValueError: no row has a blunt and a neutral summary that lessons could be written from.
    """
    pairs = []
    for sentence, principle, critique in critique_lessons(rows):
        rare = principle is CALM and objects(critique)      # the rarest lesson comes twice: once was not enough to learn it
        pairs += [(critique_prompt(sentence, principle), critique)] * (1 + rare)
    pairs += [(revision_prompt(sentence, critique), revision) for sentence, critique, revision in revision_lessons(rows)]
    if not pairs:
        raise ValueError(f"rows: none of {len(rows)} has a blunt summary with an insult and a neutral one that tells the same; take helpers.alignment.critique.kit_rows")
    return [prompt for prompt, _ in pairs], [completion for _, completion in pairs]
