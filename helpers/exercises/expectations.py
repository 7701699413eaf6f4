"""What the checks of the exercises expect: comparisons of a learner's result with a known one; a difference is a
hint.
"""

from __future__ import annotations

import numpy as np


class NotYet(Exception):
    """The exercise is not solved; the message is a hint."""


def _converted(found, what, convert, wanted, returned):
    if found is None or found is ...:
        raise NotYet(f"{what}: your function returns None. Replace the `...` and return {returned}.")
    try:
        return convert(found)
    except (TypeError, ValueError):
        raise NotYet(f"{what}: expected {wanted}, your function returns {shown(found)}.") from None


def number(found, what):
    """What a function returned as a float; numbers of numpy and torch will do."""
    return _converted(found, what, float, "one number", "a value")


def numbers(found, what):
    """What a function returned as a list of floats; a tuple, a set, an array or a tensor will do."""
    return _converted(found, what, lambda values: [float(value) for value in values], "a list of numbers", "a list")


def rows_of_numbers(found, what):
    """What a function returned as a list of rows of floats; a matrix of numpy or torch will do."""
    return _converted(
        found, what, lambda rows: [[float(value) for value in row] for row in rows], "rows of numbers", "a list of rows"
    )


def pairs(found, what):
    """What a function returned as a list of pairs, of whatever kind."""
    return _converted(
        found, what, lambda rows: [(first, second) for first, second in rows], "a list of pairs", "a list of pairs"
    )


def shown(found):
    """A value as a hint shows it: its beginning and its type."""
    return f"{str(found)[:60]!r} (type {type(found).__name__})"


def expect_number(found, expected, what):
    """One number, equal within rounding."""
    if not np.isclose(number(found, what), expected, atol=1e-5):
        raise NotYet(f"{what}: expected {expected:.4g}, your function gives {float(found):.4g}.")


def expect_numbers(found, expected, what):
    """As many numbers, each equal within rounding."""
    values = numbers(found, what)
    if len(values) != len(expected):
        raise NotYet(f"{what}: expected {len(expected)} numbers, your function gives {len(values)}.")
    if not np.allclose(values, expected, atol=1e-5):
        raise NotYet(
            f"{what}: expected {np.round(expected, 4).tolist()}, your function gives {np.round(values, 4).tolist()}."
        )


def expect_indices(found, expected, what, advice):
    """Both are sets of places: their order says nothing."""
    values, wanted = sorted(numbers(found, what)), sorted(expected)
    if values != wanted:
        given = ", ".join(f"{value:g}" for value in values)
        raise NotYet(f"{what}: expected {wanted}, your function gives [{given}]. {advice}")


def expect_text(found, expected, what):
    """The same text, character by character."""
    if _converted(found, what, lambda text: text, "a text", "a text") != expected:
        raise NotYet(f"{what}: expected {expected!r}, your function returns {shown(found)}.")


def entry(record, name, convert, wanted):
    """What a record holds under a name, converted; a missing or impossible entry is a hint."""
    if not isinstance(record, dict) or record.get(name) in (None, ...):
        raise NotYet(f"the record has no {name!r} yet: give {wanted}.")
    try:
        return convert(record[name])
    except (TypeError, ValueError, AttributeError):
        raise NotYet(f"{name!r}: expected {wanted}, your record holds {shown(record[name])}.") from None


def tried_values(record, convert, wanted):
    """{value that a learner tried, converted: what was measured with it} of a record."""
    return entry(record, "tried", lambda found: {convert(value): dict(each) for value, each in found.items()}, wanted)


def fraction(value):
    """A number between 0 and 1."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def fractions(values):
    """A name and a number between 0 and 1 for each of at least two things."""
    found = {str(name): fraction(value) for name, value in values.items()}
    if len(found) < 2:
        raise ValueError(values)
    return found
