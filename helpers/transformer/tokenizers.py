"""Subwords: two ways to learn how words are cut, byte-pair encoding and a unigram model, from the same texts; each
applied by hand as well.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import sentencepiece

from helpers.evaluation.statistics import Interval, mean_interval

KINDS = {"BPE": "bpe", "unigram": "unigram"}
SPACE = "▁"
TAG = re.compile(r"#\w+#:?")  # who speaks: no word
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")


def train_subwords(texts: Sequence[str], vocab_size: int, kind: str, **options) -> sentencepiece.SentencePieceProcessor:
    """A tokenizer of at most `vocab_size` pieces learned from the lines of the texts; the 256 bytes are pieces too, so
    that nothing is unknown.

    Args:
        kind: "BPE" (Sennrich et al. 2016) or "unigram" (Kudo 2018); all else is equal: the library, the texts, how they
            are normalised (NFKC).
        options: further ones of the library, such as `user_defined_symbols`.
    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    model = io.BytesIO()
    lines = (line for text in texts for line in text.split("\n") if line.strip())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type=KINDS[kind],
        vocab_size=vocab_size,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        max_sentence_length=20000,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def piece_scores(processor) -> dict[str, float]:
    """Piece -> its score, bytes and special pieces left out: log-probabilities of a unigram model; of BPE minus the
    number of the merge that made it.
    """
    return {
        processor.id_to_piece(index): processor.get_score(index)
        for index in range(processor.get_piece_size())
        if not (processor.is_byte(index) or processor.is_control(index) or processor.is_unknown(index))
    }


def merge_order(processor) -> list[str]:
    """The pieces that BPE has made by merging two, the first merge first; single characters left out."""
    return [piece for piece, _ in sorted(piece_scores(processor).items(), key=lambda item: -item[1]) if len(piece) > 1]


def bpe_cut(text: str, merges: Sequence[str] | Mapping[str, int]) -> list[str]:
    """The text in pieces: single characters at first, then always the two neighbours whose merge was learned earliest
    become one.

    Args:
        text: with ␣ as `SPACE`; merges: pieces in the order in which they were learned, or piece -> its place in it.
    Source: Sennrich et al. 2016, algorithm 1, applied to new text.
    """
    ranks = merges if isinstance(merges, Mapping) else {piece: rank for rank, piece in enumerate(merges)}
    found = list(text)
    while len(found) > 1:
        joined = [ranks.get(first + second, math.inf) for first, second in pairwise(found)]
        best = int(np.argmin(joined))
        if joined[best] == math.inf:
            break
        found[best : best + 2] = [found[best] + found[best + 1]]
    return found


def unigram_cut(text: str, scores: Mapping[str, float]) -> tuple[list[str], float]:
    """The most likely pieces and the logarithm of their probability, the sum of the pieces' own; found place by place,
    as Viterbi does.

    Raises:
        ValueError: no pieces make up the text, because a character of it is in none.
    Source: Kudo 2018, section 3.2.
    """
    longest = max(map(len, scores))
    best = [(0.0, 0)] + [(-math.inf, 0)] * len(text)  # up to each place: log-probability, start of the last piece
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end):
            total = best[start][0] + scores.get(text[start:end], -math.inf)
            if total > best[end][0]:
                best[end] = (total, start)
    if best[-1][0] == -math.inf:
        raise ValueError(f"text: {text!r} holds a character that is in no piece; the library would write it in bytes")
    found, end = [], len(text)
    while end:
        found.insert(0, text[best[end][1] : end])
        end = best[end][1]
    return found, best[-1][0]


def marked(text: str) -> str:
    """A text as sentencepiece sees it: `SPACE` in front of it and for every blank."""
    return SPACE + text.replace(" ", SPACE)


def pieces_of(processor, text: str) -> list[str]:
    """The text's pieces, written as the vocabulary writes them."""
    return processor.encode(text, out_type=str)


def words_of(text: str) -> list[str]:
    """Words and numbers of a dialogue, without the tags that say who speaks."""
    return WORD.findall(TAG.sub(" ", text))


def seen_words(texts: Sequence[str]) -> set[str]:
    """All words of the texts, in lower case."""
    return {word.lower() for text in texts for word in words_of(text)}


def known_words(texts: Sequence[str], seen: set[str]) -> list[float]:
    """The share of each text's words that are seen, 0 where it has none; its last word may be cut off and is left out.

    Args:
        seen: as `seen_words` gives them.
    """
    return [float(np.mean([word.lower() in seen for word in words_of(text)[:-1]] or [False])) for text in texts]


def kind_of_word(word: str, seen: set[str]) -> str:
    """ "number"; "new word", which no training text has; or "known word"."""
    return "number" if word.isdigit() else "known word" if word.lower() in seen else "new word"


def word_costs(processor, texts: Sequence[str], seen: set[str]) -> list[tuple[int, str, int]]:
    """(number of the text, kind of the word, pieces it takes) of every word of the texts, each cut by itself with a
    blank before it.
    """
    cost: dict[str, int] = {}
    rows = []
    for number, text in enumerate(texts):
        for word in words_of(text):
            if word not in cost:
                cost[word] = len(processor.encode(word))
            rows.append((number, kind_of_word(word, seen), cost[word]))
    return rows


def cost_of_kinds(rows: Sequence[tuple[int, str, int]]) -> dict[str, Interval]:
    """Kind of word -> pieces a word with the interval over texts; kinds that fewer than two texts have are left out.

    Args:
        rows: as `word_costs` gives them.
    """
    found = {}
    for kind in ("known word", "new word", "number"):
        chosen = [row for row in rows if row[1] == kind]
        if len({number for number, _, _ in chosen}) > 1:
            found[kind] = mean_interval([pieces for _, _, pieces in chosen], [number for number, _, _ in chosen])
    return found
