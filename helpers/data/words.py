"""Words: those of a text in any script, as ROUGE counts them: lower case, letters and digits only."""

from __future__ import annotations

import unicodedata

import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # written without blanks between words
WORD = regex.compile(rf"[{UNSPACED}][\p{{M}}ー]*|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+", regex.VERSION1)
ENGLISH = regex.compile("[a-z0-9]+")
JOINERS = {0x200C: None, 0x200D: None}  # stand inside words of Persian and Hindi, and do not print


def list_words(text: str) -> list[str]:
    """The words of a text: "#Person1# can't" are person1, can and t; accents and vowel signs belong to their letters.

    In scripts without blanks between words (Chinese, Japanese, Thai …) each letter counts as one, as in sacrebleu's
    tokenizer "zh".
    Source: for English the tokenizer of rouge_score, which leaves out all letters but a to z.
    """
    if text.isascii():
        return ENGLISH.findall(text.lower())
    return WORD.findall(unicodedata.normalize("NFC", text).translate(JOINERS).lower())
