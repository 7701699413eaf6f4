"""The calculator: exact where it computes, refusing everything else, and never running anything."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from helpers.applications.calculator import LARGEST, CalculatorError, calculate

numbers = st.integers(0, 999).map(str)
programs = st.recursive(
    numbers,
    lambda part: st.tuples(part, st.sampled_from("+-*"), part).map(lambda three: f"({three[0]} {three[1]} {three[2]})"),
    max_leaves=6,
)


@given(programs)
def test_it_computes_what_python_computes(program):
    wanted = eval(program)  # a program of digits, operators and brackets, made here
    if len(program) > 100 or abs(wanted) > LARGEST:
        return
    try:
        assert calculate(program) == wanted
    except CalculatorError as error:
        assert "came up" in str(error)  # a part of it was above the limit


@given(st.text(max_size=120))
def test_any_text_is_a_number_or_an_error_of_its_own(text):
    with contextlib.suppress(CalculatorError):
        assert isinstance(calculate(text), Fraction)


def test_whole_numbers_print_as_such_and_halves_are_exact():
    assert str(calculate("3 * 7 + 5")) == "26" and calculate(" 7 / 2 ") == Fraction(7, 2) and calculate("-(2 - 5)") == 3


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("__import__('os').system('true')", "is not allowed"),
        ("9 ** 9 ** 9", r"operation \*\* is not allowed"),
        ("1 // 2", "operation // is not allowed"),
        ("open('x')", "is not allowed"),
        ("(1, 2)", "is not allowed"),
        ("True + 1", "'True' is not allowed"),
        ("1.5 * 2", "'1.5' is not allowed"),
        ("x + 1", "'x' is not allowed"),
        ("'a' * 3", "is not allowed"),
        ("1 / 0", "division by zero"),
        ("(3 + 4", "is no arithmetic"),
        ("", "no program of 1 to 100"),
        ("1" * 101, "no program of 1 to 100"),
        ("9999999 * 9999999", "came up"),
        ("9" * 20, "came up"),
        ("1 if 1 else 2", "is not allowed"),
        ("[1][0]", "is not allowed"),
        (None, "no program"),
    ],
)
def test_everything_else_is_refused_by_name(program, message):
    with pytest.raises(CalculatorError, match=message):
        calculate(program)


def test_deep_brackets_end_in_an_error_not_in_a_crash():
    with pytest.raises(CalculatorError):
        calculate("(" * 99 + "1")
    assert calculate("-" * 99 + "1") == -1
