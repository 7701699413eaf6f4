"""The lexicon of the offline world: every word that its dialogues, summaries and prompts hold, held-out values too."""

from __future__ import annotations

from collections import Counter

from pocket.tokenizer import words_of

TEXTS = ("dialogue", "neutral", "blunt", "headline")
SAMPLE, ENOUGH = 6000, 3  # prompts of each kind that are searched, and how often a word must occur there


def lexicon(corpus, rows, count=SAMPLE):
    """The words, sorted: those of all rows, of all slots' values, and the usual ones of prompts and other styles.

    Args:
        corpus: a `pocket.splits.Corpus`; rows: those of every split, `wild` among them.
        count: prompts of each kind to search; a word that only they hold must occur in them at least `ENOUGH` times.
    """
    found = {
        word for row in rows for text in (*(row[name] for name in TEXTS), *row["summaries"]) for word in words_of(text)
    }
    found |= {word for value in corpus.world.values for word in words_of(value)}
    usual = Counter()
    with corpus.mixture.plain():
        for kind in ("few-shot", "instructed", "question"):
            for example in corpus.mixture.sample(count, ("lexicon", kind), {kind: 1.0}):
                usual.update(words_of(f"{example.prompt} {example.target}"))
    return sorted(found | {word for word, times in usual.items() if times >= ENOUGH})
