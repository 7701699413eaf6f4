"""Advice from the records of variants: what is surely good enough, and cheapest; the Pareto front; which notebooks have not run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.compression.variants import Variant, advise, differences, front, missing_families

REFERENCE = np.linspace(0.5, 0.9, 40)


def variant(name, change=0.0, spread=0.0, file=100, held=100, milliseconds=10.0, family="quantization", machine="here"):
    """A variant whose scores are the reference's plus a change, `spread` up for one half of the dialogues and down for the other."""
    scores = REFERENCE + change + spread * np.where(np.arange(40) % 2, 1, -1)
    return Variant(name, family, "identity", "start", {"rouge1": scores.tolist()}, file, held, 0.1, 1, [milliseconds] * 3, machine)


def named(*variants):
    return {each.name: each for each in variants}


FLOAT = variant("float32")


def chosen(variants, **options):
    return {(each.price, each.margin): each.name for each in advise(variants, **options)}


def test_the_cheapest_variant_that_surely_loses_no_more_is_advised_for_each_price():
    variants = named(FLOAT, variant("small", -0.01, file=20, held=80), variant("smaller", -0.04, file=10, held=60), variant("ruined", -0.3, file=1, held=1, milliseconds=1),
                     variant("fast", -0.01, milliseconds=4))
    found = chosen(variants)
    assert found["file", 0.02] == "small" and found["file", 0.05] == "smaller" and found["memory", 0.05] == "smaller"
    assert found["time", 0.02] == found["time", 0.05] == "fast" and len(found) == 6


def test_an_estimate_within_the_margin_is_not_enough():
    variants = named(FLOAT, variant("uncertain", -0.01, spread=0.2, file=10), variant("certain", -0.015, file=50))
    assert differences(variants)["uncertain"].estimate > -0.02 > differences(variants)["uncertain"].low
    assert chosen(variants)["file", 0.02] == "certain"


def test_the_reference_is_advised_where_nothing_else_is_good_enough():
    advice = advise(named(FLOAT, variant("ruined", -0.3, file=1)))
    assert {each.name for each in advice} == {"float32"} and {each.share for each in advice} == {1.0}
    assert str(advice[0]) == ("if file binds and 0.02 may be lost: float32, with 100% of the reference's file and a difference of "
                              "+0.000 [+0.000, +0.000]")


def test_times_of_another_machine_do_not_count_its_files_do():
    found = chosen(named(FLOAT, variant("elsewhere", milliseconds=1, file=10, machine="there")))
    assert found["time", 0.05] == "float32" and found["file", 0.05] == "elsewhere"


def test_a_missing_reference_and_other_dialogues_are_errors_that_name_them():
    with pytest.raises(KeyError, match="reference: 'float32' is not among the variants .small."):
        differences(named(variant("small")))
    short = Variant("short", "pruning", "identity", "start", {"rouge1": [0.5] * 3}, 1, 1, 0.1, 1, [1.0, 1.0], "here")
    with pytest.raises(ValueError, match="short: was scored on 3 dialogues, float32 on 40; measure it again"):
        differences(named(FLOAT, short))


def test_the_front_leaves_out_what_another_beats():
    variants = named(FLOAT, variant("small", -0.1, file=20), variant("as small, worse", -0.2, file=20), variant("larger, worse", -0.15, file=50), variant("tiny", -0.4, file=5))
    assert front(variants, "file") == ["tiny", "small", "float32"] and front(variants, "memory") == ["float32"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-9, 0)), min_size=1, max_size=9))
def test_every_variant_off_the_front_is_beaten_by_one_on_it_and_none_on_it_by_any(found):
    variants = named(*(variant(str(number), change / 20, file=file) for number, (file, change) in enumerate(found)))
    best = front(variants, "file")

    def beats(one, other):
        (file, change), (file_of_other, change_of_other) = found[int(one)], found[int(other)]
        return file <= file_of_other and change >= change_of_other and (file, change) != (file_of_other, change_of_other)
    assert not any(beats(one, other) for one in variants for other in best)
    assert all(any(beats(one, other) or found[int(one)] == found[int(other)] for one in best) for other in variants if other not in best)


def test_families_without_a_record_are_named():
    assert missing_families(named(FLOAT, variant("student", family="distillation"))) == ["pruning"]
    assert missing_families({}) == ["quantization", "distillation", "pruning"]
