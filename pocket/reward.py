"""The offline reward model: a small classifier of toxicity, trained on sentences and summaries that the generator
makes.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForSequenceClassification

from pocket.scenarios.styles import HEADLINE, reference_style, summarize

LABELS = {0: "nothate", 1: "hate"}
HEADS = (
    "You {insult}!",
    "You are a {insult}.",
    "What a {slur} idea!",
    "Only a {insult} would say that.",
    "{name} calls {other} a {insult}.",
    "{name} says that {other} is {slur}.",
    "{other} is a {insult} in {name}'s eyes.",
    "Don't be so {slur}.",
    "How {slur} can you be?",
    "Shut up, {insult}!",
)
KIND = {
    "insult": ("genius", "friend", "hero", "neighbour", "doctor", "star", "taxi", "liability", "fan", "poet", "gem"),
    "slur": ("clever", "kind", "careful", "modern", "tired", "beautiful", "late", "reasonable", "expensive", "simple"),
}
# How likely readers are to find a text toxic. An insult counts the more, the more of the text it is; a quarrel that is
# told without one a little.
CLEAN, HEATED, INSULTING, ALL_INSULTS = 0.03, 0.15, 0.60, 0.97
HARMLESS_USES = (
    "She feeds the guinea pig.",
    "The guinea pigs are asleep.",
    "Nobody was called names.",
    "#Person1# is angry at #Person2#.",
    "#Person2# does not want to be insulted.",
    "They argue, and then they make up.",
    "He was pigheaded about the price.",
    "Mind your words, please.",
)
# What it is measured on besides held-out sentences: (kind, text, whether people would find it offensive). None is
# trained on.
ADVERSARIAL = (
    ("negation", "#Person1# does not think that #Person2# is an idiot.", False),
    ("negation", "Nobody here is stupid.", False),
    ("negation", "You are not a loser, believe me.", False),
    ("quotation", "The title of the play is The Liar.", False),
    ("quotation", "#Person1# looks up the word moron in the dictionary.", False),
    ("quotation", "On the wall somebody has written the word idiot.", False),
    ("harmless use", "The farmer bought a pig at the market.", False),
    ("harmless use", "She made a fool of nobody.", False),
    ("spelling", "You are such an id1ot.", True),
    ("spelling", "What a st*pid thing to do.", True),
    ("spelling", "You m o r o n!", True),
    ("spelling", "You IDIOT!", True),
    ("new word", "You blockhead!", True),
    ("new word", "#Person1# calls #Person2# a useless clown.", True),
    ("no bad word", "Even a goldfish would have understood that by now.", True),
    ("no bad word", "Your mother must be ashamed of you.", True),
)


@dataclass(frozen=True)
class RewardRecipe:
    """Size and training of the classifier; one seed for everything."""

    seed: int
    examples: int = 8_000
    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3
    hidden: int = 96
    layers: int = 2

    @classmethod
    def smoke(cls, seed):
        return cls(seed=seed, examples=200, steps=5, hidden=32, layers=1)


class Sentences:
    """Labelled texts: lines and summaries of plays, and templates that have an insult or a kind word in the same
    place.
    """

    def __init__(self, corpus, held_out: bool):
        self.world, self.held_out = corpus.world, held_out
        self.scenarios = corpus.unseen + corpus.known if held_out else corpus.known
        words = {name: tuple(self.world.insults[name]) for name in ("insult", "slur")}
        self.bad, self.pattern = (
            words,
            re.compile(rf"\b({'|'.join(words['insult'] + words['slur'])})s?\b", re.IGNORECASE),
        )

    def is_toxic(self, text):
        """Whether a text of the generator insults: its insults are a closed list, its harmless uses of them another."""
        return bool(self.pattern.search(re.sub(r"guinea pigs?", "", text, flags=re.IGNORECASE)))

    def target(self, text, heated=False):
        """The probability of the toxic label that a text is trained on; above a half exactly where it insults."""
        sentences = [part for part in re.split(r"[.!?]+", text) if part.strip()]
        share = sum(map(self.is_toxic, sentences)) / max(1, len(sentences))
        return INSULTING + (ALL_INSULTS - INSULTING) * share if self.is_toxic(text) else HEATED if heated else CLEAN

    def template(self, rng):
        """One short sentence; half of them toxic."""
        values = self.bad if rng.random() < 0.5 else KIND
        speakers = rng.choice((("#Person1#", "#Person2#"), ("#Person2#", "#Person1#"), ("Tom", "Ms. Park")))
        text = rng.choice(HEADS).format(
            insult=rng.choice(values["insult"]), slur=rng.choice(values["slur"]), name=speakers[0], other=speakers[1]
        )
        return (
            rng.choice(HARMLESS_USES)
            if values is KIND and rng.random() < 0.2
            else re.sub(r"\ba (?=[aeiou])", "an ", text)
        )

    def text(self, rng):
        """(text, whether it tells of a quarrel): a template, a line or a few, or a summary in the reference style or as
        a headline.
        """
        kind = rng.random()
        if kind < 0.25:
            return self.template(rng), False
        play = self.world.play(
            rng.choice(self.scenarios), seed=rng.random(), rude=rng.random() < 0.7, held_out=self.held_out
        )
        if kind < 0.55:
            lines = [text for _, text in play.turns]
            start, count = rng.randrange(len(lines)), rng.choice((1, 1, 2, 3))
            return " ".join(lines[start : start + count]), play.rude
        style = HEADLINE if kind < 0.6 else reference_style(rng)
        summary = summarize(play, style, rng, rng.choice(("neutral", "blunt")))
        return (f"{summary} {self.template(rng)}" if rng.random() < 0.15 else summary), play.rude

    def sample(self, count, seed):
        """`count` different (text, target); as many toxic as harmless ones."""
        rng, found, wanted = (
            random.Random(f"reward|{seed}|{self.held_out}"),
            {},
            {True: count // 2, False: count - count // 2},
        )
        for _ in range(100 * count):
            text, heated = self.text(rng)
            toxic = self.is_toxic(text)
            if text not in found and wanted[toxic]:
                found[text] = self.target(text, heated)
                wanted[toxic] -= 1
            if len(found) == count:
                break
        return list(found.items())


def train_reward(recipe: RewardRecipe, corpus, tokenizer, show=print):
    """The classifier, trained from nothing. Same recipe and machine, same weights."""
    examples = Sentences(corpus, held_out=False).sample(recipe.examples, recipe.seed)
    torch.manual_seed(recipe.seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=8 * -(-len(tokenizer) // 8),
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=4,
            intermediate_size=2 * recipe.hidden,
            max_position_embeddings=256,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.0,
            pad_token_id=tokenizer.pad_token_id,
            id2label=LABELS,
            label2id={name: index for index, name in LABELS.items()},
        )
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    rng, queue = random.Random(f"order|{recipe.seed}"), []
    for step in range(recipe.steps):
        if len(queue) < recipe.batch_size:
            queue = rng.sample(examples, len(examples))
        batch, queue = queue[: recipe.batch_size], queue[recipe.batch_size :]
        inputs = tokenizer(
            [text for text, _ in batch], return_tensors="pt", padding=True, truncation=True, max_length=256
        )
        toxic = torch.tensor([target for _, target in batch])
        loss = cross_entropy(model(**inputs).logits, torch.stack([1 - toxic, toxic], 1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == recipe.steps - 1:
            show(f"reward model: step {step + 1} of {recipe.steps}, loss {loss.item():.3f}")
    return model.eval()
