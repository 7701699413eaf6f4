"""Generation parameters: their names, neutral values and rules, and the check that finds a misspelt or useless one."""

from __future__ import annotations

import difflib
from numbers import Integral, Real

# What a parameter does when it is not given: nothing. Neither the model's own generation settings nor the library's
# hidden ones (top_k=50 as soon as one samples) take part.
NEUTRAL = {
    "max_new_tokens": 64, "min_new_tokens": 0, "do_sample": False, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
    "num_beams": 1, "length_penalty": 1.0, "early_stopping": False, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0,
}
FOR_SAMPLING = ("temperature", "top_k", "top_p")
FOR_BEAMS = ("length_penalty", "early_stopping")
ELSEWHERE = {
    "num_return_sequences": "repeat the prompt in the list instead, once for each completion wanted",
    "max_length": "use max_new_tokens, which counts the completion alone",
    "min_length": "use min_new_tokens, which counts the completion alone",
}


class GenerationError(ValueError):
    """A prompt or a parameter with which nothing can be generated; the message names it, its value and the remedy."""


def is_whole(value, least):
    """Whether a value is a whole number (no bool) of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _number(value, test):
    return isinstance(value, Real) and not isinstance(value, bool) and test(value)


RULES = {
    "max_new_tokens": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
    "min_new_tokens": ("a whole number of at least 0", lambda value: is_whole(value, 0)),
    "do_sample": ("True or False", lambda value: isinstance(value, bool)),
    "temperature": ("a number above 0 (towards 0 it nears greedy decoding: do_sample=False)",
                    lambda value: _number(value, lambda x: 0 < x < float("inf"))),
    "top_k": ("a whole number: 0 keeps all tokens, 50 the 50 likeliest", lambda value: is_whole(value, 0)),
    "top_p": ("a number above 0 and at most 1", lambda value: _number(value, lambda x: 0 < x <= 1)),
    "num_beams": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
    "length_penalty": ("a finite number", lambda value: _number(value, lambda x: abs(x) < float("inf"))),
    "early_stopping": ('True, False or "never"', lambda value: isinstance(value, bool) or value == "never"),
    "no_repeat_ngram_size": ("a whole number: 0 allows repetition", lambda value: is_whole(value, 0)),
    "repetition_penalty": ("a number above 0", lambda value: _number(value, lambda x: 0 < x < float("inf"))),
}


def check_parameters(parameters) -> dict:
    """The given parameters with the neutral value of all the others.

    Args:
        parameters: mapping of names in `NEUTRAL` to values.
    Raises:
        GenerationError: an unknown name (the nearest known one is offered), a value out of range, or parameters that
            contradict each other: temperature, top_k or top_p without sampling, beams with sampling, a penalty on the
            length or early stopping without beams, a minimum above the maximum.
    """
    for name, value in parameters.items():
        if name not in NEUTRAL:
            near = difflib.get_close_matches(name, NEUTRAL, n=1)
            advice = ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"known are {', '.join(NEUTRAL)}")
            raise GenerationError(f"{name}={value!r}: no such generation parameter; {advice}")
        wanted, holds = RULES[name]
        if not holds(value):
            raise GenerationError(f"{name}={value!r}: it must be {wanted}")
    settings = {**NEUTRAL, **parameters}
    for names, needed, missing in ((FOR_SAMPLING, "do_sample=True", not settings["do_sample"]),
                                   (FOR_BEAMS, "num_beams of at least 2", settings["num_beams"] == 1)):
        idle = [f"{name}={parameters[name]!r}" for name in names if name in parameters]
        if idle and missing:
            raise GenerationError(f"{', '.join(idle)}: without effect unless {needed} is given too; add that, or leave it out")
    if settings["num_beams"] > 1 and settings["do_sample"]:
        raise GenerationError(f"num_beams={settings['num_beams']} with do_sample=True: beam search seeks the likeliest text, "
                              "sampling a random one; choose one of the two")
    if settings["min_new_tokens"] > settings["max_new_tokens"]:
        raise GenerationError(f"min_new_tokens={settings['min_new_tokens']} is above "
                              f"max_new_tokens={settings['max_new_tokens']}; raise the maximum or lower the minimum")
    return settings
