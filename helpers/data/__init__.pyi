"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .inspection import inspect_dialogues as inspect_dialogues
from .lengths import fitting_dialogues as fitting_dialogues, token_lengths as token_lengths
from .loading import load_dialogues as load_dialogues
from .pairs import (
    IGNORED as IGNORED,
    Collator as Collator,
    encode_pairs as encode_pairs,
    summary_pairs as summary_pairs,
)
from .prompts import TEMPLATES as TEMPLATES, build_prompt as build_prompt, fit_prompt as fit_prompt
from .splits import dialogue_key as dialogue_key
