"""Streams: dialogues drawn without end from the kit's scenarios, of one domain or of all, as bytes for language models."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import torch

from pocket.scenarios.generator import World
from pocket.scenarios.screenplay import FOLDER, WORLD_FILES, load_scenarios, parse, read_pools
from pocket.splits import RUDE_SHARE, UNSEEN

DOMAINS = tuple(sorted(path.stem for path in FOLDER.glob("*.txt") if path.name not in WORLD_FILES))
BREAK = "\n\n"      # stands before each dialogue: what a model reads first, and what says that one has ended


class Dialogues:
    """Dialogues of one domain, or of all of them; no two draws of equal arguments differ, and different seeds give different dialogues.

    Attributes:
        scenarios: those that dialogues are drawn from, all with the same probability; the kit's unseen ones are left out.
    Raises:
        ValueError: there is no such domain.
    """

    def __init__(self, domain: str | None = None, without: str | None = None):
        for name, value in (("domain", domain), ("without", without)):
            if value is not None and value not in DOMAINS:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(DOMAINS)}")
        everything, pools = load_scenarios(), read_pools()
        names = {stem: {scenario.name for scenario in parse(FOLDER / f"{stem}.txt", pools)} for stem in DOMAINS}
        self.world = World(everything)
        self.scenarios = [scenario for scenario in everything if scenario.name not in UNSEEN and (domain is None or scenario.name in names[domain])
                          and (without is None or scenario.name not in names[without])]

    def draw(self, seed) -> Iterator[str]:
        """Dialogues without end, speakers A and B: the tag "#Person1#" is nine bytes that are guessed as soon as they begin."""
        rng, number = random.Random(f"stream|{seed}"), 0
        while True:
            play = self.world.play(rng.choice(self.scenarios), seed=(seed, number), rude=rng.random() < RUDE_SHARE)
            yield BREAK + play.dialogue().replace("#Person1#", "A").replace("#Person2#", "B")
            number += 1

    def some(self, count: int, seed) -> list[str]:
        """The first `count` of them."""
        return [text for _, text in zip(range(count), self.draw(seed))]


def byte_ids(text: str) -> torch.Tensor:
    """(B,) the bytes of a text in UTF-8, each from 0 to 255: a vocabulary that needs no tokenizer."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()


def batches(texts: Iterable[str], rows: int, length: int) -> Iterator[torch.Tensor]:
    """(rows, length) of bytes, cut from the texts one after the other; none is seen twice, and nothing is padding."""
    waiting = bytearray()
    for text in texts:
        waiting += text.encode()
        while len(waiting) >= rows * length:
            yield torch.frombuffer(waiting[:rows * length], dtype=torch.uint8).long().view(rows, length)
            waiting = waiting[rows * length:]


def windows(text: str, length: int) -> torch.Tensor:
    """(R, length) of a text's bytes in as few rows as hold them, −1 behind the last one."""
    found = byte_ids(text)
    rows = -(-len(found) // length)
    return torch.nn.functional.pad(found, (0, rows * length - len(found)), value=-1).view(rows, length)
