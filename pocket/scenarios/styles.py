"""How a summary is worded: naming × tense × opening × structure × detail, some two thousand styles in combination.

The reference style of the data set is one small corner of them (`REFERENCE`). In a few-shot prompt all exemplars and
the target share one style: that is what teaches a model to take its style from the exemplars.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from lemminflect import getInflection, getLemma

from pocket.scenarios.screenplay import VERB

NAMINGS = {
    "tags": ("#Person1#", "#Person2#"),
    "persons": ("Person 1", "Person 2"),
    "letters": ("A", "B"),
    "speakers": ("Speaker A", "Speaker B"),
    "ordinals": ("the first speaker", "the second speaker"),
    "codes": ("P1", "P2"),
    "names": ("Ann", "Bob"),
    "roles": None,
}
TENSES = ("present", "past")
OPENINGS = {
    "none": "",
    "short": "In short: ",
    "summary": "Summary: ",
    "topic": "{topic}: ",
    "about": "This is about {topic}. ",
    "note": "Note: ",
}
STRUCTURES = ("sentences", "paired", "and", "semicolons", "dashes", "numbers", "backwards", "slashes")
DETAILS = ("short", "key", "full")
IRREGULAR = {  # the past of verbs that a lexicon of full verbs does not give
    "is": "was",
    "are": "were",
    "am": "was",
    "isn't": "wasn't",
    "aren't": "weren't",
    "can": "could",
    "cannot": "could not",
    "can't": "couldn't",
    "will": "would",
    "won't": "wouldn't",
    "must": "had to",
    "doesn't": "didn't",
    "don't": "didn't",
    "does": "did",
    "should": "should",
    "may": "might",
    "might": "might",
    "would": "would",
    "could": "could",
    "has": "had",
    "have": "had",
    "hasn't": "hadn't",
    "haven't": "hadn't",
    "lies": "lay",
    "costs": "cost",
}


@dataclass(frozen=True)
class Style:
    naming: str = "tags"
    tense: str = "present"
    opening: str = "none"
    structure: str = "sentences"
    detail: str = "full"


REFERENCE = Style()
HEADLINE = Style("codes", "past", "topic", "slashes", "short")  # the "wrong style" of the lab's control


def random_style(rng):
    """Any style, each part drawn on its own."""
    return Style(
        rng.choice(list(NAMINGS)),
        rng.choice(TENSES),
        rng.choice(list(OPENINGS)),
        rng.choice(STRUCTURES),
        rng.choice(DETAILS),
    )


@dataclass(frozen=True)
class Family:
    """Styles that belong together, as the summaries of one collection do: a usual one, from which some parts depart at
    times.

    One exemplar shows one text's style; several show which is the usual one.
    """

    usual: Style
    departures: tuple[tuple[str, str], ...]  # (part of the style, its other value)

    def draw(self, rng):
        """One text's style: every departure is taken in a third of the texts."""
        return replace(self.usual, **{part: other for part, other in self.departures if rng.random() < 1 / 3})


def random_family(rng):
    """Any style; up to two of its tense, structure and detail depart at times."""
    departures = rng.sample(
        (("tense", TENSES), ("structure", STRUCTURES), ("detail", DETAILS)), rng.choice((0, 1, 1, 2))
    )
    return Family(random_style(rng), tuple((part, rng.choice(values)) for part, values in departures))


def conjugate(verb, tense):
    """`asks` -> `asked`; present forms come back unchanged."""
    if tense == "present":
        return verb
    return IRREGULAR[verb] if verb in IRREGULAR else getInflection(getLemma(verb, "VERB")[0], "VBD")[0]


def _tensed(text, tense):
    """All marked verbs in the tense."""
    return VERB.sub(lambda match: conjugate(match[1], tense), text)


def _capital(text):
    return text[:1].upper() + text[1:]


def _join(clauses, structure):
    """Clauses without capital or full stop, joined as the structure says."""
    last = clauses[-1]
    match structure:
        case "and":
            return _capital(", and ".join(clauses)) + "."
        case "paired":
            return _join(clauses[:2], "and") + (" " + _join(clauses[2:], "sentences") if clauses[2:] else "")
        case "semicolons":
            return _capital("; ".join(clauses)) + "."
        case "dashes":
            return " ".join(f"- {clause}" for clause in clauses)
        case "numbers":
            return " ".join(f"{number}) {clause}" for number, clause in enumerate(clauses, 1))
        case "backwards":
            return _capital(last) + "." + "".join(f" Before that, {clause}." for clause in reversed(clauses[:-1]))
        case "slashes":
            return " / ".join(clauses)
    return " ".join(_capital(clause) + "." for clause in clauses)


def _wording(fact, rng, tone):
    texts = {"blunt": fact.blunt, "neutral": fact.neutral}.get(tone, ()) or fact.wordings
    return rng.choice(texts)


def _selected(facts, detail):
    if detail == "full":
        return list(facts)
    key = [fact for fact in facts if fact.key] or list(facts[-1:])
    return key if detail == "key" else key[-1:]


def summarize(play, style, rng, tone="neutral"):
    """A summary of a play.

    Args:
        tone: "neutral" or "blunt": which wordings the rude facts of a rude dialogue take; polite ones have one tone.
    """
    facts = _selected(play.facts, style.detail)
    if tone == "blunt" and play.rude and not any(fact.blunt for fact in facts):
        facts = [fact for fact in play.facts if fact in facts or fact.blunt]
    names = NAMINGS[style.naming] or play.roles
    clauses = [
        _tensed(_wording(fact, rng, tone), style.tense).replace("{A}", names[0]).replace("{B}", names[1])
        for fact in facts
    ]
    topic = rng.choice(play.topics)
    opening = OPENINGS[style.opening].replace("{topic}", topic)
    return _capital(re.sub(r"\s+", " ", opening + _join(clauses, style.structure)))


def reference_style(rng):
    """The data set's own style: speaker tags, present tense, plain sentences, all facts or the key ones."""
    return replace(
        REFERENCE,
        structure=rng.choice(("sentences", "sentences", "paired")),
        detail=rng.choice(("full", "full", "key")),
    )


def references(play, seed, count=3):
    """`count` summaries in the reference style that share no wording of a fact where the scenario has enough of them.

    Of a rude dialogue the last one is blunt and the others are neutral.
    """
    rng = random.Random(f"{play.scenario}|references|{seed}")
    texts = []
    used = [set() for _ in play.facts]
    for number in range(count):
        facts = []
        for fact, seen in zip(play.facts, used):
            fresh = [wording for wording in fact.wordings if wording not in seen] or list(fact.wordings)
            chosen = rng.choice(fresh)
            seen.add(chosen)
            facts.append(replace(fact, wordings=(chosen,)))
        tone = "blunt" if play.rude and number == count - 1 else "neutral"
        texts.append(summarize(replace(play, facts=tuple(facts)), reference_style(rng), rng, tone))
    return texts
