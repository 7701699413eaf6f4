"""Characters: what no tokenizer can read, since it has no form in UTF-8."""

from __future__ import annotations

import re

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def half_character(text: str) -> str:
    """What is wrong with a text that holds half a character, as of an emoji that was cut in two; "" if nothing is."""
    return "holds half a character (a lone surrogate such as \\ud83d)" if LONE_SURROGATE.search(text) else ""
