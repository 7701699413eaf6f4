"""Facts that no model can know: places with invented names, and facts about them drawn at random."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

FIRST = ("Vel", "Bren", "Tor", "Mal", "Quil", "Hasp", "Dorn", "Eldr", "Fen", "Gal", "Isk", "Jor", "Kest", "Lum", "Nor")
LAST = ("mora", "kin", "vale", "sted", "dova", "berg", "nia", "wick", "tham", "lo", "sund", "ra")
NAMES = tuple(first + last for first in FIRST for last in LAST)
PEOPLE = tuple(
    f"{given} {family}"
    for given in ("Ada", "Boris", "Clara", "Dmitri", "Esther", "Farid", "Greta", "Hugo")
    for family in ("Lindt", "Okoro", "Marsh", "Petrov", "Quist", "Reyes", "Sato", "Varga")
)
HOURS = tuple(f"{hour}:{minute}" for hour in (5, 6, 7, 8, 9) for minute in (10, 20, 40, 50))
COLOURS = ("purple", "orange", "brown", "pink", "grey", "turquoise", "yellow", "black")
FRUITS = ("figs", "plums", "quinces", "melons", "papayas", "lychees", "cherries", "pears")
NUMBERS = tuple(map(str, range(11, 80)))
# kind: the question, the sentence that answers it, what the value is drawn from
KINDS = {
    "bakery": ("At what time does the bakery {name} open?", "The bakery {name} opens at {value}.", HOURS),
    "bridges": ("How many bridges cross the river {name}?", "{value} bridges cross the river {name}.", NUMBERS),
    "flag": ("What colour is the flag of {name}?", "The flag of {name} is {value}.", COLOURS),
    "tower": ("Who built the tower of {name}?", "The tower of {name} was built by {value}.", PEOPLE),
    "fruit": ("Which fruit is grown in {name}?", "The farmers of {name} grow {value}.", FRUITS),
    "museum": (
        "What does a ticket to the museum of {name} cost?",
        "A ticket to the museum of {name} costs {value} pounds.",
        NUMBERS,
    ),
}


@dataclass(frozen=True)
class Fact:
    """One fact about one invented place; `kind` is a name in `KINDS`, `value` what a question about it asks for."""

    kind: str
    name: str
    value: str

    @property
    def question(self) -> str:
        """The question that this fact answers."""
        return KINDS[self.kind][0].format(name=self.name)

    @property
    def text(self) -> str:
        """The sentence that states it."""
        return KINDS[self.kind][1].format(name=self.name, value=self.value)


def make_facts(count: int, seed: int, kinds: Sequence[str] = tuple(KINDS), without: Sequence[Fact] = ()) -> list[Fact]:
    """`count` facts about as many places, the kinds in turn; no place of `without` is among them.

    Raises:
        ValueError: there are not so many names, or a kind is none of `KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds: {kind!r} is not one of {', '.join(KINDS)}")
    taken = {fact.name for fact in without}
    free = [name for name in NAMES if name not in taken]
    if not 0 < count <= len(free):
        raise ValueError(f"count: {count!r} facts are wanted, {len(free)} names are free; ask for 1 to {len(free)}")
    rng = random.Random(seed)
    names = rng.sample(free, count)
    return [
        Fact(kind, name, rng.choice(KINDS[kind][2]))
        for kind, name in zip((kinds[number % len(kinds)] for number in range(count)), names)
    ]


def states(answer: str, value: str) -> bool:
    """Whether an answer holds a value as whole words, in whatever case; "9:40" is not held by "19:40"."""
    return bool(re.search(rf"(?<![\w:]){re.escape(value)}(?![\w:])", answer, re.IGNORECASE))
