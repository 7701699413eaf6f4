"""The tokenizer of pocket-t5: a SentencePiece unigram vocabulary, held by `tokenizers` so that no special code loads
it.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from helpers.transformer.tokenizers import train_subwords

SPACE = "▁"
SENTINELS = 16
TAGS = [
    tag for number in (1, 2) for tag in (f"#Person{number}#", f"{SPACE}#Person{number}#", f"{SPACE}#Person{number}#:")
]
TURN_STARTS = ["\n#Person1#:", "\n#Person2#:"]
CONTRACTIONS = ["'s", "'t", "'ll", "'re", "'ve", "'d", "'m"]


def train_pieces(texts, vocab_size):
    """(piece, log-probability) of a unigram model trained on the lines of `texts`.

    Source: Kudo 2018, section 3.2, through the sentencepiece library. Bytes are pieces too: no text is unknown.
    """
    processor = train_subwords(
        texts, vocab_size, "unigram", user_defined_symbols=TAGS + CONTRACTIONS, normalization_rule_name="nfkc"
    )
    pieces = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(processor.get_piece_size())]
    return pieces + [(piece, 0.0) for piece in ["\n", *TURN_STARTS]]  # sentencepiece itself knows no newline


def build_tokenizer(texts, vocab_size, model_max_length):
    """A tokenizer for transformers, trained on `texts`; ids 0, 1, 2 are padding, end and unknown, as in T5."""
    pieces = train_pieces(texts, vocab_size)
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
