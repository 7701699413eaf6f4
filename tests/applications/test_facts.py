"""Invented facts: different places, values that nothing tells, answers recognised by whole words."""

import pytest

from helpers.applications.facts import KINDS, make_facts, states


def test_facts_are_different_repeatable_and_held_out():
    first = make_facts(60, 1)
    assert make_facts(60, 1) == first and len({fact.name for fact in first}) == 60
    assert [fact.kind for fact in first[:6]] == list(KINDS)
    later = make_facts(60, 2, kinds=("museum",), without=first)
    assert not {fact.name for fact in first} & {fact.name for fact in later} and {f.kind for f in later} == {"museum"}
    for fact in first:
        assert fact.name in fact.question and states(fact.text, fact.value) and not states(fact.question, fact.value)


def test_values_do_not_depend_on_names():
    one, other = ({fact.name: fact.value for fact in make_facts(180, seed, ("museum",))} for seed in (1, 2))
    assert one.keys() == other.keys() and sum(one[name] == other[name] for name in one) < 15


@pytest.mark.parametrize(
    ("answer", "value", "held"),
    [
        ("It opens at 9:40.", "9:40", True),
        ("It opens at 19:40.", "9:40", False),
        ("17 pounds", "17", True),
        ("It costs 175 pounds", "17", False),
        ("ADA LINDT built it", "Ada Lindt", True),
        ("", "17", False),
    ],
)
def test_a_value_is_held_as_whole_words(answer, value, held):
    assert states(answer, value) == held


@pytest.mark.parametrize(("count", "options"), [(0, {}), (10**6, {}), (3, {"kinds": ("zoo",)})])
def test_what_cannot_be_made_is_named(count, options):
    with pytest.raises(ValueError, match="count: |kinds: 'zoo'"):
        make_facts(count, 1, **options)
