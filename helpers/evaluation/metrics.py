"""Metrics: ROUGE, BLEU, distinct-n, exact match, and word overlap by hand. Offline: no script is fetched."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from tempfile import TemporaryDirectory

import datasets
import evaluate
import numpy as np
import sacrebleu
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from helpers.data.words import list_words
from helpers.models.characters import half_character

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


_stemmed = lru_cache(maxsize=100_000)(PorterStemmer().stem)  # dialogues repeat their words, and stemming is slow


class _RougeTokenizer:
    """`words` in the form that rouge_score takes a tokenizer."""

    def tokenize(self, text):
        return words(text)


def words(text: str, stem: bool = True) -> list[str]:
    """The words as ROUGE counts them: lower case, letters and digits only ("#Person1#" is "person1"), stemmed.

    Words of any script count; English ones alone are stemmed.
    Source: rouge_score, after Lin's ROUGE 1.5.5 (words of up to three letters are not stemmed); `list_words`.
    """
    found = list_words(text)
    return [_stemmed(word) if len(word) > 3 and word.isascii() else word for word in found] if stem else found


class _OfflineMetric(evaluate.Metric):
    """A metric of `evaluate` that lives here instead of in a downloaded script, and leaves nothing on the disk."""

    what = ""

    def __init__(self):
        with TemporaryDirectory() as folder:  # evaluate wants a folder even when all is kept in memory
            super().__init__(keep_in_memory=True, cache_dir=folder)

    def _info(self):
        features = datasets.Features(
            {"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))}
        )
        return evaluate.MetricInfo(description=self.what, citation="", inputs_description="", features=features)


class Rouge(_OfflineMetric):
    """Stemmed F1 for each row and ROUGE type; of several references, the best one for that type counts."""

    what = "ROUGE (Lin 2004), through rouge_score"

    def _compute(self, predictions, references):
        scorer = RougeScorer(ROUGE_TYPES, tokenizer=_RougeTokenizer())
        scores = [scorer.score_multi(several, prediction) for prediction, several in zip(predictions, references)]
        return {name: np.array([score[name].fmeasure for score in scores], dtype=float) for name in ROUGE_TYPES}


class Bleu(_OfflineMetric):
    """Corpus BLEU with the precision of each n-gram size."""

    what = "BLEU (Papineni et al. 2002), through sacrebleu"

    def _compute(self, predictions, references):
        most = max(map(len, references))
        streams = [
            [several[place] if place < len(several) else None for several in references] for place in range(most)
        ]
        score = sacrebleu.corpus_bleu(predictions, streams)
        return {
            "bleu": score.score,
            **{f"precision{n}": value for n, value in enumerate(score.precisions, 1)},
            "brevity_penalty": score.bp,
        }


def _aligned(predictions, references):
    """Predictions and lists of references, row by row, checked."""
    if isinstance(predictions, str) or isinstance(references, str):
        raise TypeError(
            "predictions and references must be lists of texts; for a single pair write [prediction], [reference]"
        )
    if len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions but {len(references)} references; row i of both must be about the "
            "same dialogue"
        )
    if not len(predictions):
        raise ValueError("predictions: the list is empty; there is nothing to measure")
    rows = [[row] if isinstance(row, str) else list(row) for row in references]
    for index, (prediction, row) in enumerate(zip(predictions, rows)):
        if not row:
            raise ValueError(f"references[{index}]: the list is empty; row {index} needs at least one reference")
        for name, text in ((f"predictions[{index}]", prediction), *((f"references[{index}]", text) for text in row)):
            if not isinstance(text, str):
                raise TypeError(f"{name}: {text!r} is {type(text).__name__}, not a text")
            if what := half_character(text):
                raise ValueError(f"{name}: {text[:60]!r} {what}; write the character again")
    return list(predictions), rows


def rouge_per_dialogue(predictions: Sequence[str], references: Sequence) -> dict[str, np.ndarray]:
    """Stemmed ROUGE F1 of each row, for rouge1, rouge2, rougeL and rougeLsum: (N,) each, in [0, 1].

    Args:
        predictions: N texts; an empty one scores 0.
        references: N texts, or N lists of texts, of which the best counts, for each ROUGE type on its own.
    Raises:
        ValueError: unequal lengths, no rows, a row without a reference, half a character in a text.
        TypeError: a text in place of a list, an entry that is not a text.
    Source: Lin 2004, by the rouge_score package; rougeLsum takes lines for sentences.
    """
    predictions, references = _aligned(predictions, references)
    return Rouge().compute(predictions=predictions, references=references)


def rouge(predictions: Sequence[str], references: Sequence) -> dict[str, float]:
    """The means of `rouge_per_dialogue`, each in [0, 1]; multiply by 100 to compare with published tables."""
    return {name: float(scores.mean()) for name, scores in rouge_per_dialogue(predictions, references).items()}


def bleu(predictions: Sequence[str], references: Sequence) -> dict[str, float]:
    """BLEU of the whole corpus: "bleu" and "precision1" to "precision4" in [0, 100], "brevity_penalty" in [0, 1].

    The scale is sacrebleu's, which published numbers use. The corpus is one unit: counts are added up over all rows
    before dividing, so this is not a mean over rows. Arguments and errors as for `rouge_per_dialogue`.
    Source: Papineni et al. 2002; sacrebleu (Post 2018), tokenizer 13a, exponential smoothing.
    """
    predictions, references = _aligned(predictions, references)
    return Bleu().compute(predictions=predictions, references=references)


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Diversity: different n-grams divided by all n-grams of the texts together, in [0, 1]; 0 where there are none.

    Source: Li et al. 2016, section 5.3.
    """
    if n < 1:
        raise ValueError(f"n={n}: it must be at least 1, as an n-gram is n words")
    tokens = [words(text, stem=False) for text in texts]
    grams = [tuple(row[start : start + n]) for row in tokens for start in range(len(row) - n + 1)]
    return len(set(grams)) / max(len(grams), 1)


def repeated_per_text(texts: Sequence[str], n: int = 3) -> np.ndarray:
    """(N,) share of each text's n-grams of words that have stood in it before, in [0, 1]; 0 for a text without n-grams.

    A text that goes round in circles comes near 1.
    """
    found = []
    for text in texts:
        tokens = words(text, stem=False)
        grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
        found.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    return np.array(found)


def normalised(text: str) -> str:
    """The text without case, punctuation, articles and extra white space. Source: Rajpurkar et al. 2016 (SQuAD)."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match_per_dialogue(predictions: Sequence[str], references: Sequence) -> np.ndarray:
    """(N,) 1.0 where the prediction equals one of its references after `normalised`, else 0.0; errors as for ROUGE."""
    predictions, references = _aligned(predictions, references)
    return np.array(
        [
            float(normalised(prediction) in map(normalised, several))
            for prediction, several in zip(predictions, references)
        ]
    )


def exact_match(predictions: Sequence[str], references: Sequence) -> float:
    """The share of rows in which prediction and reference are equal after `normalised`, in [0, 1]."""
    return float(exact_match_per_dialogue(predictions, references).mean())


@dataclass(frozen=True)
class Overlap:
    """Words in common divided by the words of the prediction (precision) and of the reference (recall), and their
    F1.
    """

    matches: int
    precision: float
    recall: float
    f1: float


def _overlap(matches, prediction, reference):
    return Overlap(
        matches,
        matches / max(len(prediction), 1),
        matches / max(len(reference), 1),
        2 * matches / max(len(prediction) + len(reference), 1),
    )


def unigram_overlap(prediction: str, reference: str) -> dict[str, Overlap]:
    """ROUGE-1 by hand: "clipped" (a word of the reference can be matched once) and "unclipped" (any number of times).

    "cold cold cold" against "it is cold outside": 3 of 3 words match unclipped, 1 of 3 clipped. Unclipped recall and F1
    can exceed 1, which shows that they measure nothing. Clipped F1 equals `rouge`'s rouge1.
    Source: Lin 2004, equation 1.
    """
    said, wanted = words(prediction), words(reference)
    clipped = sum((Counter(said) & Counter(wanted)).values())
    unclipped = sum(word in set(wanted) for word in said)
    return {"clipped": _overlap(clipped, said, wanted), "unclipped": _overlap(unclipped, said, wanted)}
