"""Turns scenarios into dialogues: one `Play` holds the turns, the facts, the questions. Wording of summaries is in
`styles`.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

from pocket.scenarios.screenplay import CHOICE, SLOT, ScenarioError, load_asides, read_pools

HELD_OUT_SHARE = 0.25  # of every slot's values: they occur in validation and test dialogues only
PSEUDO_WORD_SHARE = 0.1  # of the foreign values that stand in slots while a model is pre-trained
ASIDE_SHARE = 0.1  # of the dialogues are interrupted by an aside
RUDE_SHARE = 0.275  # of a data set's dialogues
OPTIONAL_SHARE = 0.2  # of the beats that may be left out are played
TURNS = range(6, 13)
VOWEL_SOUND = re.compile(r"(?!uni|use|usu|uk|eu|one\b)[aeiou]|hour|honest|heir|x-", re.IGNORECASE)
SYLLABLES = [
    c + v
    for c in (
        "b",
        "br",
        "c",
        "d",
        "dr",
        "f",
        "fl",
        "g",
        "h",
        "j",
        "k",
        "l",
        "m",
        "n",
        "p",
        "pl",
        "qu",
        "r",
        "s",
        "sh",
        "st",
        "t",
        "tr",
        "v",
        "w",
        "y",
        "z",
    )
    for v in ("a", "e", "i", "o", "u", "ay", "ee", "oo")
]
CODAS = ("", "n", "r", "l", "s", "m", "ck", "t", "nd", "x")


@dataclass(frozen=True)
class Fact:
    """What a summary may say of a beat: wordings with `{A}`, `{B}` and *marked* verbs left in."""

    wordings: tuple[str, ...]
    key: bool
    blunt: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()


@dataclass(frozen=True)
class Play:
    """One dialogue, before its summary has a style."""

    scenario: str
    topics: tuple[str, ...]
    roles: tuple[str, str]
    turns: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    questions: tuple[tuple[str, str], ...]
    rude: bool

    def dialogue(self):
        """The text, one turn a line, speakers named as DialogSum names them."""
        return "\n".join(f"#Person{1 if speaker == 'A' else 2}#: {text}" for speaker, text in self.turns)

    def words(self):
        return sum(len(text.split()) for _, text in self.turns)


def rank(text):
    """A number in [0, 1) that depends on the text alone: the same on every machine, in every version."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def pseudo_word(rng):
    """A word that no dictionary has, such as `stoonil`: only copying can reproduce it."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((1, 2, 2, 3)))) + rng.choice(CODAS)


def with_article(value):
    return f"{'an' if VOWEL_SOUND.match(value) else 'a'} {value}"


def _fill(text, values, rng):
    """Resolves `[a|b]`, `{slot}` and `{a slot}`; leaves `{A}` and `{B}`, which only a style can name."""
    while match := CHOICE.search(text):
        text = text[: match.start()] + rng.choice(match[1].split("|")) + text[match.end() :]
    text = re.sub(r"\b([Aa])n? \{(\w+)\}", r"\1 {a \2}", text).replace("a {a ", "{a ").replace("A {a ", "{a ")

    def value(match):
        if match["name"] in ("A", "B"):
            return match[0]
        found = values[match["name"]]
        return with_article(found) if match["article"] else found

    return re.sub(r"\s+", " ", SLOT.sub(value, text)).strip()


def _sentence(text):
    """Capital letters where sentences begin."""
    text = text[:1].upper() + text[1:]
    return re.sub(r"([.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)


class World:
    """All scenarios with the shared pools, asides and insults, and the split of slot values."""

    def __init__(self, scenarios):
        self.scenarios = {scenario.name: scenario for scenario in scenarios}
        self.asides = load_asides()
        pools = read_pools()
        self.insults = {name: pools[name] for name in ("insult", "slur")}
        self.held_out = frozenset(
            value
            for scenario in scenarios
            for values in scenario.slots.values()
            for value in sorted(values, key=rank)[: max(2, round(len(values) * HELD_OUT_SHARE))]
        )
        self.values = sorted(
            {value for scenario in scenarios for values in scenario.slots.values() for value in values}
        )

    def _noise(self, value, scenario, rng):
        """Something else in a slot's place: a value of any other slot, held out there or not, or a pseudo-word.

        What is held out for this scenario's own slots never comes: the combination stays new.
        """
        if rng.random() < PSEUDO_WORD_SHARE:
            word = pseudo_word(rng)
            return word.capitalize() if value[0].isupper() else word
        own = {other for values in scenario.slots.values() for other in values}
        while (found := rng.choice(self.values)) in own and found in self.held_out:
            pass
        return found

    def _values(self, scenario, rng, held_out, noise):
        chosen = {}
        for name, values in scenario.slots.items():
            usable = [
                value for value in values if (value in self.held_out) == held_out and value not in chosen.values()
            ]
            if not usable:
                raise ScenarioError(
                    f"{scenario.name}: slot {name!r} has too few {'held-out' if held_out else 'training'} values"
                )
            chosen[name] = rng.choice(usable)
            if rng.random() < noise:
                chosen[name] = self._noise(chosen[name], scenario, rng)
        for name, values in self.insults.items():
            chosen[name] = rng.choice(values)
        return chosen

    def _beats(self, scenario, rng, rude):
        """One beat of every stage (or none, where optional); a rude dialogue takes the beats that have rude lines."""
        taken = []
        for stage in scenario.stages():
            rough = [beat for beat in stage if beat.blunt or any(turn.rude for turn in beat.turns)] if rude else []
            if stage[0].optional and not rough and rng.random() > OPTIONAL_SHARE:
                continue
            blunt = [beat for beat in rough if beat.blunt]
            taken.append(rng.choice(blunt or (rough if rough and rng.random() < 0.7 else stage)))
        if rng.random() < ASIDE_SHARE:
            taken.insert(rng.randrange(1, len(taken)), rng.choice(self.asides))
        return taken

    def _beats_in_range(self, scenario, rng, rude, excerpt, attempts=200):
        for _ in range(attempts):
            beats = self._beats(scenario, rng, rude)
            if excerpt:
                start = rng.randrange(len(beats))
                beats = beats[start : start + excerpt]
                if any(beat.facts for beat in beats):
                    return beats
            elif sum(len(beat.turns) for beat in beats) in TURNS:
                return beats
        raise ScenarioError(f"{scenario.name}: no way through it has {TURNS[0]} to {TURNS[-1]} turns")

    def play(self, scenario, seed, rude=False, held_out=False, noise=0.0, excerpt=0):
        """One dialogue.

        Args:
            scenario: a `Scenario`; seed: anything with a stable text form; the same seed gives the same play.
            rude: with the rude lines (ignored where the scenario has none).
            held_out: slots take held-out values, else training values.
            noise: probability that a slot gets a pseudo-word or a foreign value instead.
            excerpt: only so many consecutive beats, at least one of them with a fact (0: the whole dialogue).
        """
        rng = random.Random(f"{scenario.name}|{seed}")
        rude = rude and bool(scenario.rude)
        beats = self._beats_in_range(scenario, rng, rude, excerpt)
        values = self._values(scenario, rng, held_out, noise)
        turns, facts, questions = [], [], []
        for beat in beats:
            for turn in beat.turns:
                lines = turn.rude if rude and turn.rude else turn.lines or turn.rude
                line = min(rng.choices(lines, k=2), key=len)  # the shorter of two draws keeps dialogues brisk
                turns.append((turn.speaker, _sentence(_fill(line, values, rng))))
            if beat.facts:
                worded = [
                    tuple(_fill(text, values, rng) for text in texts)
                    for texts in (beat.facts, beat.blunt if rude else (), beat.neutral if rude else ())
                ]
                facts.append(Fact(worded[0], beat.key, worded[1], worded[2]))
            questions += [
                (self._ask(question, values, rng), self._ask(answer, values, rng))
                for question, answer in beat.questions
            ]
        return Play(scenario.name, scenario.topics, scenario.roles, tuple(turns), tuple(facts), tuple(questions), rude)

    @staticmethod
    def _ask(text, values, rng):
        return _fill(text, values, rng).replace("{A}", "#Person1#").replace("{B}", "#Person2#").replace("*", "")
