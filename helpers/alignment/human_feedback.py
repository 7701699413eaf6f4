"""Human feedback: rankings by several labelers in a database, how far the labelers agree, and the pairs that a reward
model learns from.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import krippendorff
import numpy as np

from helpers.run_records import make_folder

TABLES = """
CREATE TABLE IF NOT EXISTS items (item TEXT PRIMARY KEY, prompt TEXT NOT NULL, completions TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rankings (labeler TEXT NOT NULL, item TEXT NOT NULL REFERENCES items (item),
                                     ranking TEXT NOT NULL, PRIMARY KEY (labeler, item));
"""


class FeedbackError(ValueError):
    """Feedback that cannot be kept, read or used; the message names the file, the item or the labeler."""


@dataclass(frozen=True)
class Item:
    """Completions of one prompt, to be ranked."""

    name: str
    prompt: str
    completions: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """One labeler's order of an item's completions: their numbers, from 0, best first."""

    labeler: str
    item: str
    order: tuple[int, ...]


class FeedbackStore:
    """Items and their rankings in an SQLite file.

    Each ranking is on the disk when `add` returns, and several programs may add at the same time. A labeler who ranks
    an item again replaces the earlier ranking.

    Args:
        path: made with its folder if it is not there. items: added to the file; those that are there already must be
            the same.
    Raises:
        FeedbackError: the file is no such database, or has other completions for an item.
    """

    def __init__(self, path: Path | str, items: Sequence[Item] = ()):
        self.path = Path(path)
        if not self.path.parent.is_dir():  # rankings in a folder that is there can be read, though nothing be added
            make_folder(self.path.parent)
        with self._open() as database:
            database.executescript(TABLES)
            database.executemany(
                "INSERT OR IGNORE INTO items VALUES (?, ?, ?)",
                [(item.name, item.prompt, json.dumps(item.completions)) for item in items],
            )
        self.items = {
            name: Item(name, prompt, tuple(json.loads(completions))) for name, prompt, completions in self._all("items")
        }
        for item in items:
            if self.items[item.name] != item:
                raise FeedbackError(
                    f"{self.path}: holds other completions for the item {item.name!r}; rankings of other texts "
                    "belong in another file"
                )

    @contextmanager
    def _open(self):
        """A connection for one transaction: kept whole or not at all."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise FeedbackError(
                f"{self.path}: {error}; if it is no file of rankings, choose another name; if the disk is full, "
                "make room: what was "
                "ranked before is still there"
            ) from error

    def _all(self, table):
        with self._open() as database:
            return database.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()

    def add(self, ranking: Ranking):
        """Keeps a ranking.

        Raises:
            FeedbackError: no labeler, an unknown item, or an order that does not hold each completion once.
        """
        if not ranking.labeler.strip():
            raise FeedbackError("labeler: is empty; rankings without a name cannot be told apart")
        if ranking.item not in self.items:
            raise FeedbackError(f"item: {ranking.item!r} is not among the {len(self.items)} items of {self.path}")
        count = len(self.items[ranking.item].completions)
        if sorted(ranking.order) != list(range(count)):
            raise FeedbackError(
                f"order: {ranking.order} of the item {ranking.item!r} does not hold each of 0 to {count - 1} once"
            )
        with self._open() as database:
            database.execute(
                "INSERT INTO rankings VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET ranking = excluded.ranking",
                (ranking.labeler.strip(), ranking.item, json.dumps(ranking.order)),
            )

    def rankings(self) -> list[Ranking]:
        """All rankings, in the order in which they were first given."""
        return [Ranking(labeler, item, tuple(json.loads(order))) for labeler, item, order in self._all("rankings")]

    def unranked(self, labeler: str) -> list[Item]:
        """The items that a labeler has not ranked yet."""
        done = {ranking.item for ranking in self.rankings() if ranking.labeler == labeler.strip()}
        return [item for item in self.items.values() if item.name not in done]


def stored_rankings(folder: Path | str) -> tuple[list[Ranking], dict[str, Item]]:
    """All rankings in the files `rankings-*.sqlite` below a folder, and the items that they are about.

    Items of two files may share a name and not their completions: here each name begins with its file's.

    Raises:
        FeedbackError: a file is no such database.
    """
    rankings, items = [], {}
    for path in sorted(Path(folder).rglob("rankings-*.sqlite")):
        store = FeedbackStore(path)
        for ranking in store.rankings():
            name, known = f"{path.stem}|{ranking.item}", store.items[ranking.item]
            rankings.append(Ranking(ranking.labeler, name, ranking.order))
            items[name] = Item(name, known.prompt, known.completions)
    return rankings, items


class RankingSession:
    """One labeler's way through a store: the item on the table, and the completions chosen so far, best first.

    Completions are shown in an order of the labeler's own, so that places on the screen favour none.

    Raises:
        FeedbackError: no labeler's name.
    """

    def __init__(self, store: FeedbackStore, labeler: str):
        if not labeler.strip():
            raise FeedbackError("labeler: is empty; rankings without a name cannot be told apart")
        self.store, self.labeler, self.chosen = store, labeler.strip(), []
        self.waiting = store.unranked(self.labeler)

    @property
    def item(self) -> Item | None:
        """What is being ranked; None when all is done."""
        return self.waiting[0] if self.waiting else None

    @property
    def done(self) -> int:
        """Items that this labeler has ranked."""
        return len(self.store.items) - len(self.waiting)

    def shown(self) -> list[int]:
        """The completions' numbers in the order of the screen."""
        return random.Random(f"{self.labeler}|{self.item.name}").sample(
            range(len(self.item.completions)), len(self.item.completions)
        )

    def choose(self, completion: int):
        """The next best one. When a single one is left it is the last, and the ranking is kept."""
        if completion not in self.chosen:
            self.chosen.append(completion)
        left = [number for number in self.shown() if number not in self.chosen]
        if len(left) <= 1:
            self.store.add(Ranking(self.labeler, self.item.name, (*self.chosen, *left)))
            self.waiting, self.chosen = self.waiting[1:], []

    def undo(self):
        """Takes the latest choice back, of the item on the table."""
        self.chosen = self.chosen[:-1]


def simulated_order(utilities: Sequence[float], noise: float, rng: np.random.Generator) -> tuple[int, ...]:
    """The order in which a labeler with this taste and noise puts completions, best first.

    Each utility gets Gumbel noise of this scale; then P(i before j) = σ((u_i − u_j)/noise), which is what the pairwise
    loss of reward models assumes (Bradley–Terry). Source: Plackett–Luce, in Luce 1959; the noise form, Yellott 1977.

    Args:
        noise: 0 gives the order of the utilities themselves; the order of equal ones is drawn.
    """
    drawn = np.asarray(utilities, dtype=float) + noise * rng.gumbel(size=len(utilities))
    return _best_first(drawn, rng)


def _best_first(values, rng):
    """Places by falling value; the order of equal values is drawn, so that no place is favoured."""
    return tuple(int(place) for place in np.lexsort((rng.random(len(values)), -np.asarray(values))))


INSULT = re.compile(
    r"\b(idiot|fool|moron|imbecile|coward|liar|loser|hypocrite|pig|stupid|dumb|insult\w*)s?\b", re.IGNORECASE
)
HARSH = re.compile(r"\b(angr\w+|furious\w*|shout\w*|loudly|sharply|scold\w*|blam\w+|confront\w*)\b", re.IGNORECASE)


def politeness(text: str) -> float:
    """A simulated taste: an insult costs three points, a harsh word one."""
    return -3.0 * bool(INSULT.search(text)) - 1.0 * bool(HARSH.search(text))


def simulated_panel(
    items: Sequence[Item], utility: Callable[[str], float], noise: float, seed: int, labelers: str = "ABC"
) -> list[Ranking]:
    """Each labeler's ranking of each item, by one taste and with a noise of its own; see `simulated_order`."""
    rng, rankings = np.random.default_rng(seed), []
    for item in items:
        utilities = [utility(text) for text in item.completions]
        rankings += [Ranking(name, item.name, simulated_order(utilities, noise, rng)) for name in labelers]
    return rankings


def agreement(rankings: Sequence[Ranking]) -> float:
    """Krippendorff's α of the ranks: 1 is full agreement, 0 what chance gives, below 0 systematic disagreement.

    Raises:
        FeedbackError: no item was ranked by two labelers.
    Source: Krippendorff 2011, *Computing Krippendorff's Alpha-Reliability*, ordinal difference; through the library of
        that name.
    """
    labelers = {name: row for row, name in enumerate(sorted({ranking.labeler for ranking in rankings}))}
    units: dict[tuple[str, int], int] = {}
    for ranking in rankings:
        for completion in ranking.order:
            units.setdefault((ranking.item, completion), len(units))
    ranks = np.full((len(labelers), len(units)), np.nan)
    for ranking in rankings:
        for rank, completion in enumerate(ranking.order):
            ranks[labelers[ranking.labeler], units[ranking.item, completion]] = rank
    if not ((~np.isnan(ranks)).sum(0) > 1).any():
        raise FeedbackError(
            "rankings: no item was ranked by two labelers; agreement needs two opinions of the same thing"
        )
    return float(krippendorff.alpha(reliability_data=ranks, level_of_measurement="ordinal"))


def consensus(rankings: Sequence[Ranking], seed: int = 0) -> dict[str, tuple[int, ...]]:
    """Item -> the order by mean rank over its labelers (Borda's count); the order of equal means is drawn.

    Args:
        seed: of what is drawn; an item's draw does not depend on the other items.
    """
    ranks: dict[str, list[np.ndarray]] = {}
    for ranking in rankings:
        ranks.setdefault(ranking.item, []).append(np.argsort(ranking.order))  # rank of each completion
    return {
        item: _best_first(-np.mean(given, axis=0), np.random.default_rng([seed, *item.encode()]))
        for item, given in ranks.items()
    }


def people_first(people: Sequence[Ranking], simulated: Sequence[Ranking]) -> list[Ranking]:
    """The rankings that people made, and simulated ones of all items that nobody has ranked."""
    ranked = {ranking.item for ranking in people}
    return [*people, *(ranking for ranking in simulated if ranking.item not in ranked)]


def best_and_worst(orders: Mapping[str, Sequence[int]], items: Mapping[str, Item]) -> list[tuple[str, str, str]]:
    """(prompt, best text, worst text) of each order; an item whose best and worst are the same text is left out."""
    return [
        (items[name].prompt, items[name].completions[order[0]], items[name].completions[order[-1]])
        for name, order in orders.items()
        if items[name].completions[order[0]] != items[name].completions[order[-1]]
    ]


def preference_pairs(orders: Mapping[str, Sequence[int]], items: Mapping[str, Item]) -> list[tuple[str, str, str]]:
    """(item, better text, worse text) for every two completions of each order: n completions give n(n−1)/2; two equal
    texts teach nothing and are left out.
    """
    return [
        (name, items[name].completions[better], items[name].completions[worse])
        for name, order in orders.items()
        for better, worse in combinations(order, 2)
        if items[name].completions[better] != items[name].completions[worse]
    ]
