"""Word problems: text, steps and program say the same, in every kind; what a model wrote is read as the way says."""

import random
import re

import lemminflect
import pytest
from hypothesis import given, strategies as st

from helpers.applications.calculator import calculate
from helpers.applications.word_problems import (
    ASKS,
    KINDS,
    LARGE,
    SMALL,
    THINGS,
    WAYS,
    make_problem,
    make_problems,
    plural,
    problem_prompt,
    solved_value,
    with_article,
)


@given(st.integers(0, 10**6), st.sampled_from([SMALL, LARGE]))
def test_steps_and_program_reach_the_answer(seed, prices):
    problem = make_problem(random.Random(seed), prices)
    assert calculate(problem.program) == problem.answer > 0
    assert all(calculate(program) == value for program, value in problem.steps) and len(problem.steps) == 2
    for number in calculate.__globals__["ast"].walk(calculate.__globals__["ast"].parse(problem.program)):
        if hasattr(number, "value") and isinstance(number.value, int):
            assert str(number.value) in problem.text


def test_articles_and_plurals_are_english():
    for thing in THINGS:
        assert plural(thing) in lemminflect.getInflection(thing, "NNS"), thing
    assert [with_article(thing) for thing in ("umbrella", "shelf")] == ["an umbrella", "a shelf"]
    texts = " ".join(problem.text for problem in make_problems(500, 3))
    assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|shelfs|boxs|scarfs", texts) and "shelves" in texts


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_can_be_chosen(kind):
    signs = {"sum": "* + ", "change": "- * ", "sets": "+ * "}
    for problem in make_problems(20, 1, kinds=(kind,)):
        assert re.sub(r"[^-+* ]|(?<= ) ", "", problem.program).replace("  ", " ").split() == signs[kind].split()
    with pytest.raises(ValueError, match="kinds: 'other'"):
        make_problems(1, 1, kinds=("other",))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_taught_is_what_is_read(way):
    for problem in make_problems(30, 1):
        assert solved_value(problem.completion(way), way) == problem.answer
        assert problem_prompt(problem, way).endswith(ASKS[way])


def test_problems_are_different_repeatable_and_held_out():
    first = make_problems(100, 1)
    texts = {problem.text for problem in first}
    assert make_problems(100, 1) == first and len(texts) == 100
    assert not texts & {problem.text for problem in make_problems(100, 1, without=first)}


@pytest.mark.parametrize(
    ("written", "way", "value"),
    [
        ("26", "answer", 26),
        ("I do not know", "answer", None),
        ("3 * 7 = 21, 21 + 5 = 26", "steps", 26),
        ("", "steps", None),
        ("3 * 7 + 5", "program", 26),
        ("7 / 2", "program", None),
        ("exit()", "program", None),
        ("-4", "answer", -4),
    ],
)
def test_completions_are_read_as_the_way_says(written, way, value):
    assert solved_value(written, way) == value
