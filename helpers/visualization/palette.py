"""Colours: one for each thing in every lab, told apart by the colour-blind, with enough contrast for marks and text."""

from __future__ import annotations

from matplotlib import rcParams
from matplotlib.colors import to_hex, to_rgb

rcParams["text.usetex"] = False  # no figure of the kit needs LaTeX, which a user's matplotlibrc may ask for
# Okabe and Ito's palette, moved until each colour has a contrast of 3 to white and keeps its distance from all others
# for the colour-blind as well (tests/visualization/test_palette.py). A model or a way of prompting keeps its colour in
# every lab.
BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, VIOLET = (
    "#0c5187",
    "#d38100",
    "#229f61",
    "#b67b9f",
    "#858ddc",
    "#a63700",
    "#555555",
    "#8a2be2",
)
PALE = "#8f8f8f"  # bars that stand behind others
COLOURS = {
    "zero-shot": ORANGE,
    "one-shot": SKY,
    "two-shot": GREEN,
    "three-shot": BLUE,
    "wrong style": RED,
    "no instruction": PINK,
    "reference": "#000000",
    "baseline": GREY,
}
METHODS = {
    "full": RED,
    "lora": BLUE,
    "prefix": VIOLET,
    "prompt": PINK,
    "ia3": GREEN,
    "cross-attention": SKY,
    "adapters": "#000000",
    "norms": GREY,
}
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, RED)  # for what has no colour of its own
COMPRESSION = {
    "float32": "#000000",
    "bfloat16": GREY,
    "int8": BLUE,
    "int4": GREEN,
    "nf4": PINK,
    "after training": ORANGE,
    "during training": BLUE,
    "int3": SKY,
    "int2": RED,
    "qlora": PINK,
}
PRUNING = {
    "each layer": ORANGE,
    "one threshold": RED,
    "Wanda": BLUE,
    "zeros": ORANGE,
    "2:4": PINK,
    "neurons": GREEN,
    "half": GREEN,
    "heads": SKY,
    "none": GREY,
}
ALIGNMENT = {
    "before": ORANGE,
    "β": BLUE,
    "independent judge": BLUE,
    "reward model": ORANGE,
    "noise 0.5": BLUE,
    "noise 2": ORANGE,
}
PREFERENCES = {"PPO": BLUE, "GRPO": GREEN, "RLOO": PINK, "DPO": RED, "best of": SKY, "neutral": "#000000"}
DISTILLATION = {
    "teacher": "#000000",
    "without a teacher": ORANGE,
    "student, without": ORANGE,
    "soft labels": BLUE,
    "student, soft": BLUE,
    "endless": RED,
    "classifier": GREEN,
    "summarizer": PINK,
}
MIXTURES = {"dense": ORANGE, "balanced": BLUE, "not balanced": RED}
REASONING = {
    "more examples": ORANGE,
    "examples with": GREEN,
    "right results": BLUE,
    "form alone": RED,
    "vote, before": GREY,
    "vote, after": SKY,
}
FAMILIES = {"encoder-only": GREEN, "decoder-only": ORANGE, "encoder-decoder": BLUE}
APPLICATIONS = {
    "answer": ORANGE,
    "steps": GREEN,
    "program": BLUE,
}


def colour_of(name: str) -> str:
    """The colour of the thing a name begins with; grey for anything that has none of its own."""
    return next(
        (
            colour
            for names in (
                COLOURS,
                METHODS,
                ALIGNMENT,
                PREFERENCES,
                REASONING,
                COMPRESSION,
                PRUNING,
                DISTILLATION,
                MIXTURES,
                FAMILIES,
                APPLICATIONS,
            )
            for key, colour in names.items()
            if name.startswith(key)
        ),
        GREY,
    )


def luminance(colour: str) -> float:
    """Relative luminance, 0 (black) to 1 (white), as WCAG 2.2 defines it for contrasts."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def ink(colour: str) -> str:
    """The colour for text on white: as much darker as a contrast of 4.5 needs (WCAG 2.2, 1.4.3)."""
    parts = to_rgb(colour)
    while 1.05 / (luminance(to_hex(parts)) + 0.05) < 4.5:
        parts = [0.97 * part for part in parts]
    return to_hex(parts)
