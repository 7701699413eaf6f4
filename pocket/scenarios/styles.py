"""How a summary is worded: naming × tense × opening × structure × detail, some ten thousand styles in combination.

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
    "unknowns": ("X", "Y"),
    "one-other": ("one person", "the other"),
    "names": ("Ann", "Bob"),
    "roles": None,
}
TENSES = ("present", "past", "perfect", "future")
OPENINGS = {
    "none": "",
    "short": "In short: ",
    "summary": "Summary: ",
    "tldr": "TL;DR: ",
    "topic": "{topic}: ",
    "gist": "Here is the gist. ",
    "about": "This is about {topic}. ",
    "happened": "What happened: ",
    "note": "Note: ",
    "story": "The story so far: ",
    "talk": "Two people talk about {topic}. ",
    "report": "Report. ",
    "minutes": "Minutes: ",
    "diary": "Dear diary, ",
}
STRUCTURES = (
    "sentences",
    "paired",
    "and",
    "then",
    "semicolons",
    "dashes",
    "numbers",
    "backwards",
    "slashes",
    "arrows",
    "outcome",
    "exclaimed",
    "beginning-end",
)
DETAILS = ("short", "key", "full")
IRREGULAR = {  # the verbs whose forms a lexicon of full verbs does not give
    "is": ("was", "has been", "will be"),
    "are": ("were", "have been", "will be"),
    "am": ("was", "has been", "will be"),
    "isn't": ("wasn't", "has not been", "won't be"),
    "aren't": ("weren't", "have not been", "won't be"),
    "can": ("could", "has been able to", "will be able to"),
    "cannot": ("could not", "has not been able to", "will not be able to"),
    "can't": ("couldn't", "has not been able to", "won't be able to"),
    "will": ("would", "would", "will"),
    "won't": ("wouldn't", "would not", "won't"),
    "must": ("had to", "has had to", "will have to"),
    "doesn't": ("didn't", "did not", "won't"),
    "don't": ("didn't", "did not", "won't"),
    "does": ("did", "did", "will"),
    "should": ("should",) * 3,
    "may": ("might",) * 3,
    "might": ("might",) * 3,
    "would": ("would",) * 3,
    "could": ("could",) * 3,
    "has": ("had", "has had", "will have"),
    "have": ("had", "have had", "will have"),
    "hasn't": ("hadn't", "had not", "won't have"),
    "haven't": ("hadn't", "had not", "won't have"),
    "lies": ("lay", "has lain", "will lie"),
    "costs": ("cost", "has cost", "will cost"),
}
PARTICLES = {
    "not",
    "already",
    "never",
    "just",
    "only",
    "now",
    "always",
    "also",
    "still",
}  # may stand between has and a participle


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
    """Any style; of every other one, one or two of tense, structure and detail depart at times."""
    departures = rng.sample(
        (("tense", TENSES), ("structure", STRUCTURES), ("detail", DETAILS)), rng.choice((0, 0, 1, 2))
    )
    return Family(random_style(rng), tuple((part, rng.choice(values)) for part, values in departures))


def conjugate(verb, tense):
    """`asks` -> `asked`, `has asked`, `will ask`; present forms come back unchanged."""
    if tense == "present":
        return verb
    index = ("past", "perfect", "future").index(tense)
    if verb in IRREGULAR:
        return IRREGULAR[verb][index]
    lemma = getLemma(verb, "VERB")[0]
    plural = lemma == verb
    return (
        getInflection(lemma, "VBD")[0],
        f"{'have' if plural else 'has'} {getInflection(lemma, 'VBN')[0]}",
        f"will {lemma}",
    )[index]


def _is_auxiliary(text, match):
    """Whether a marked `has` or `have` already makes a perfect: `*has* asked`, `*has* not been`."""
    if match[1] not in ("has", "have"):
        return False
    words = [word for word in re.findall(r"[a-z]+", text[match.end() :])[:2] if word not in PARTICLES]
    return bool(words) and words[0] in getInflection(getLemma(words[0], "VERB")[0], "VBN")


def _tensed(text, tense):
    """The first marked verb takes the tense; the others follow it (perfect: past; future: present)."""
    following = {"perfect": "past", "future": "present"}.get(tense, tense)
    first = VERB.search(text)
    chosen = "present" if tense == "perfect" and first and _is_auxiliary(text, first) else tense
    text = VERB.sub(lambda match: conjugate(match[1], chosen), text, count=1)
    return VERB.sub(lambda match: conjugate(match[1], following), text)


def _capital(text):
    return text[:1].upper() + text[1:]


def _join(clauses, structure):
    """Clauses without capital or full stop, joined as the structure says."""
    first, *rest = clauses
    last = clauses[-1]
    match structure:
        case "and":
            return _capital(", and ".join(clauses)) + "."
        case "paired":
            return _join(clauses[:2], "and") + (" " + _join(clauses[2:], "sentences") if clauses[2:] else "")
        case "then":
            return _capital(first) + "." + "".join(f" Then {clause}." for clause in rest)
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
        case "arrows":
            return " -> ".join(clauses)
        case "outcome":
            return f"Outcome: {last}." + (f" Reason: {', and '.join(clauses[:-1])}." if rest else "")
        case "exclaimed":
            return " ".join(_capital(clause) + "!" for clause in clauses)
        case "beginning-end":
            return f"It begins: {first}." + (f" It ends: {last}." if rest else "")
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
