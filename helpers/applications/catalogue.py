"""A shop's catalogue, made by rule: products with facts that no model can know, the sheets that say them, and questions about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from helpers.data.prompts import build_task

ADJECTIVES = ("blue", "red", "green", "yellow", "black", "white", "brown", "grey", "small", "large", "old", "round", "heavy", "little", "new", "long")
THINGS = ("lamp", "kettle", "cup", "chair", "table", "clock", "blanket", "mirror", "basket", "candle", "pillow", "umbrella", "guitar", "tent", "ladder",
          "hammer", "bucket", "rope", "shelf", "drum", "radio", "scarf", "hat", "coat", "box")
NOUNS = tuple(thing for thing in THINGS if thing != "scarf")     # pocket-t5 has hardly read of scarves, and cannot copy the word
NAMES = tuple(f"{adjective} {noun}" for noun in NOUNS for adjective in ADJECTIVES)
PLACES = ("cellar", "garage", "kitchen", "office", "attic", "hall", "window", "garden", "library", "market")
PRICES, LOW_PRICES = range(11, 100), range(11, 50)      # two of the low ones have a sum of two digits
QUESTIONS = {"price": ("What does the {name} cost?", "How much is the {name}?"),
             "place": ("Where is the {name}?", "Where do I find the {name}?")}


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
    return [replace(product, price=rng.choice([price for price in PRICES if price != product.price]),
                    place=rng.choice([place for place in PLACES if place != product.place])) for product in products]


def sheets(products: Sequence[Product], seed: int) -> list[str]:
    """A document for each product, in this order; each mentions another product of the same list, so that a name does not stand in its own sheet alone."""
    rng = random.Random(seed)
    return [product.sheet(rng.choice([other.name for other in products if other.name != product.name]) if len(products) > 1 else None)
            for product in products]


def questions_about(products: Sequence[Product], wording: int | None = None) -> list[Question]:
    """Every fact of every product, asked in all wordings, or in the one whose number is given."""
    return [Question(form.format(name=product.name), product.answer(fact), product, fact)
            for product in products for fact, forms in QUESTIONS.items() for form in (forms if wording is None else (forms[wording],))]


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
        shown = rng.sample([place for place in range(len(products)) if place != right], rng.randrange(most)) + [right]
        rng.shuffle(shown)
        prompts.append(open_prompt(question.text, [documents[place] for place in shown]))
        completions.append(question.answer)
    return prompts, completions
