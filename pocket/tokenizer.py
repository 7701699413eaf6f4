"""The tokenizer of pocket-t5: the words of its world whole, pieces and bytes for all others; held by `tokenizers`, so
that no special code loads it.
"""

from __future__ import annotations

import json
import re
import string

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from helpers.transformer.tokenizers import train_subwords

SPACE = "▁"
WORD = re.compile(r"(?<![\w'’])[^\W\d_]+(?:-[^\W\d_]+)*")
SENTINELS = 16
TAGS = [
    tag for number in (1, 2) for tag in (f"#Person{number}#", f"{SPACE}#Person{number}#", f"{SPACE}#Person{number}#:")
]
TURN_STARTS = ["\n#Person1#:", "\n#Person2#:"]
ELLIPSIS = ["..."]
CONTRACTIONS = ["'s", "'t", "'ll", "'re", "'ve", "'d", "'m"]


def train_pieces(texts, vocab_size):
    """(piece, log-probability) of a unigram model trained on the lines of `texts`.

    Source: Kudo 2018, section 3.2, through the sentencepiece library. Bytes are pieces too: no text is unknown.
    """
    processor = train_subwords(
        texts,
        vocab_size,
        "unigram",
        user_defined_symbols=TAGS + CONTRACTIONS + ELLIPSIS,
        required_chars=string.digits + string.ascii_letters + string.punctuation,
        normalization_rule_name="nfkc",
    )
    pieces = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(processor.get_piece_size())]
    return pieces + [(piece, 0.0) for piece in ["\n", *TURN_STARTS]]  # sentencepiece itself knows no newline


def words_of(text):
    """The words of a text, compounds with hyphens in one; what stands behind an apostrophe is none."""
    return WORD.findall(text)


def build_tokenizer(texts, vocab_size, model_max_length, words=()):
    """A tokenizer for transformers; ids 0, 1, 2 are padding, end and unknown, as in T5.

    Args:
        texts: what the pieces are counted on; vocab_size: how many of them.
        words: each becomes one token more where it begins a word. Its score is 0, the best there is: no split beats it.
    """
    pieces = train_pieces(texts, vocab_size)
    known = {piece for piece, _ in pieces}
    whole = {f"{SPACE}{word}" for word in words}
    pieces = [(piece, 0.0 if piece in whole else score) for piece, score in pieces]
    pieces += [(piece, 0.0) for piece in sorted(whole - known)]
    backend = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex("[ \t]+"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=True)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=[f"<extra_id_{number}>" for number in range(SENTINELS)],
    )


def whole_words(tokenizer):
    """The words that are one token each because a lexicon has them."""
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    return [piece[1:] for piece, score in vocabulary if score == 0 and piece[0] == SPACE and WORD.fullmatch(piece[1:])]
