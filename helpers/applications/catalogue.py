"""A shop's catalogue, made by rule: products, the sheets that describe them, questions and errands about them.

No model can know these facts. Errands are questions that take several steps; their thoughts and actions teach an agent.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from helpers.applications.agent import FINISH, Trace, calculator_tool, quoted, take_step
from helpers.data.prompts import build_task

ADJECTIVES = (
    "blue",
    "red",
    "green",
    "yellow",
    "black",
    "white",
    "brown",
    "grey",
    "small",
    "large",
    "old",
    "round",
    "heavy",
    "little",
    "new",
    "long",
)
THINGS = (
    "lamp",
    "kettle",
    "cup",
    "chair",
    "table",
    "clock",
    "blanket",
    "mirror",
    "basket",
    "candle",
    "pillow",
    "umbrella",
    "guitar",
    "tent",
    "ladder",
    "hammer",
    "bucket",
    "rope",
    "shelf",
    "drum",
    "radio",
    "scarf",
    "hat",
    "coat",
    "box",
)
# pocket-t5 has read almost nothing of scarves, and cannot copy the word.
NOUNS = tuple(thing for thing in THINGS if thing != "scarf")
NAMES = tuple(f"{adjective} {noun}" for noun in NOUNS for adjective in ADJECTIVES)
PLACES = ("cellar", "garage", "kitchen", "office", "attic", "hall", "window", "garden", "library", "market")
PRICES, LOW_PRICES = range(11, 100), range(11, 50)  # two of the low ones have a sum of two digits
QUESTIONS = {
    "price": ("What does the {name} cost?", "How much is the {name}?"),
    "place": ("Where is the {name}?", "Where do I find the {name}?"),
}
KINDS = ("place", "together")


@dataclass(frozen=True)
class Product:
    """One thing for sale: its name, its price in pounds, and where it stands."""

    name: str
    price: int
    place: str

    def sheet(self, neighbour: str | None = None) -> str:
        """The product's document; `neighbour` is the name of another product that it mentions, as real documents do."""
        beside = f" It goes well with the {neighbour}." if neighbour else ""
        return f"The {self.name} costs {self.price} pounds and stands in the {self.place}.{beside}"

    def answer(self, fact: str) -> str:
        """What a question about one of `QUESTIONS`' facts wants to hear."""
        return {"price": f"{self.price} pounds", "place": f"in the {self.place}"}[fact]


@dataclass(frozen=True)
class Question:
    """A question about one fact of one product, and its answer."""

    text: str
    answer: str
    product: Product
    fact: str


def make_catalogue(names: Sequence[str], seed: int, prices: Sequence[int] = PRICES) -> list[Product]:
    """A product for each name, its facts drawn at random: nothing about a name tells them."""
    rng = random.Random(seed)
    return [Product(name, rng.choice(prices), rng.choice(PLACES)) for name in names]


def draw_names(count: int, seed: int, without: Sequence[str] = ()) -> list[str]:
    """`count` names, none of them twice or in `without`.

    Raises:
        ValueError: there are not so many.
    """
    free = [name for name in NAMES if name not in set(without)]
    if not 0 < count <= len(free):
        raise ValueError(f"count: {count!r} names are wanted, {len(free)} are free; ask for 1 to {len(free)}")
    return random.Random(seed).sample(free, count)


def changed(products: Sequence[Product], seed: int) -> list[Product]:
    """The same products later: every fact is another one than before."""
    rng = random.Random(seed)
    return [
        replace(
            product,
            price=rng.choice([price for price in PRICES if price != product.price]),
            place=rng.choice([place for place in PLACES if place != product.place]),
        )
        for product in products
    ]


def sheets(products: Sequence[Product], seed: int) -> list[str]:
    """A document for each product, in this order; each mentions another product of the same list, so that a name does
    not stand in its own sheet alone.
    """
    rng = random.Random(seed)
    return [
        product.sheet(
            rng.choice([other.name for other in products if other.name != product.name]) if len(products) > 1 else None
        )
        for product in products
    ]


def questions_about(products: Sequence[Product], wording: int | None = None) -> list[Question]:
    """Every fact of every product, asked in all wordings, or in the one whose number is given."""
    return [
        Question(form.format(name=product.name), product.answer(fact), product, fact)
        for product in products
        for fact, forms in QUESTIONS.items()
        for form in (forms if wording is None else (forms[wording],))
    ]


def closed_prompt(question: str) -> str:
    """The question alone: what is not in the model's weights cannot be answered."""
    return f"Question: {question}\nAnswer:"


def open_prompt(question: str, documents: Sequence[str]) -> str:
    """The question below documents, in the given order; without documents the closed prompt."""
    return build_task("question", "\n".join(documents), question=question) if documents else closed_prompt(question)


def reading_pairs(products: Sequence[Product], count: int, seed: int, most: int = 3) -> tuple[list[str], list[str]]:
    """(prompts, completions) that teach to answer from documents: the right sheet among up to `most`, in any order."""
    rng, prompts, completions = random.Random(seed), [], []
    documents, asked = sheets(products, seed), questions_about(products)
    for _ in range(count):
        question = rng.choice(asked)
        right = products.index(question.product)
        shown = [*rng.sample([place for place in range(len(products)) if place != right], rng.randrange(most)), right]
        rng.shuffle(shown)
        prompts.append(open_prompt(question.text, [documents[place] for place in shown]))
        completions.append(question.answer)
    return prompts, completions


@dataclass(frozen=True)
class Errand:
    """A question, its answer, the products that it is about, and what a perfect agent writes, step by step."""

    question: str
    answer: str
    products: tuple[Product, ...]
    steps: tuple[str, ...]
    kind: str


def _step(thought, action, argument):
    # With blanks, so that a word has the same token here as in the question.
    return f"Thought: {thought}\nAction: {action}[ {argument} ]"


def make_errand(kind: str, products: Sequence[Product], rng: random.Random) -> Errand:
    """An errand of one of `KINDS` about products drawn from `products`. Each thought sums up what the next step needs.

    Raises:
        ValueError: an unknown kind, or fewer than two products.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    if len(products) < 2:
        raise ValueError(f"products: {len(products)} of them; an errand can be about two, give at least two")
    one, two = rng.sample(list(products), 2)
    if kind == "place":
        answer = one.answer("place")
        steps = (_step(f"the place of the {one.name}", "search", one.name), _step("done", FINISH, answer))
        return Errand(f"Where in this shop do I find the {one.name}, please?", answer, (one,), steps, kind)
    program = f"{one.price} + {two.price}"
    answer = f"{calculator_tool(program)} pounds"
    steps = (
        _step(f"the {one.name} and the {two.name}", "search", one.name),
        _step(f"{one.price} and the {two.name}", "search", two.name),
        _step(f"{one.price} and {two.price} in all", "calculate", program),
        _step("done", FINISH, answer),
    )
    return Errand(f"What do the {one.name} and the {two.name} cost together?", answer, (one, two), steps, kind)


def make_errands(count: int, products: Sequence[Product], seed: int) -> list[Errand]:
    """`count` errands, the kinds in turn."""
    rng = random.Random(seed)
    return [make_errand(KINDS[number % len(KINDS)], products, rng) for number in range(count)]


def step_pairs(errands: Sequence[Errand], search) -> tuple[list[str], list[str]]:
    """(prompts, completions), one pair a step: what the agent reads before it, and what to write next.

    Args:
        search: the tool, from a product's name to a document.
    """
    prompts, completions = [], []
    for errand in errands:
        trace = Trace(errand.question)
        for written in errand.steps:
            prompts.append(trace.prompt())
            completions.append(written)
            take_step(trace, written, {"search": search, "calculate": calculator_tool}, quoted)
    return prompts, completions
