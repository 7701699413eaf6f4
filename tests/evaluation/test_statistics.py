import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from helpers.evaluation.statistics import Interval, mean_interval, paired_difference, ratio_interval

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=30)
QUICK = settings(max_examples=40)


@QUICK
@given(scores=SCORES)
def test_the_interval_lies_within_the_scores_around_their_mean(scores):
    interval = mean_interval(scores, resamples=200)
    assert interval.estimate == pytest.approx(np.mean(scores))
    assert min(scores) - 1e-9 <= interval.low <= interval.high <= max(scores) + 1e-9


@QUICK
@given(scores=SCORES, shift=st.floats(-5, 5))
def test_a_shift_of_the_scores_shifts_the_interval(scores, shift):
    before, after = mean_interval(scores, resamples=200), mean_interval(np.add(scores, shift), resamples=200)
    assert [after.estimate, after.low, after.high] == pytest.approx(
        [before.estimate + shift, before.low + shift, before.high + shift], abs=1e-6
    )


@QUICK
@given(rows=st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcde")), min_size=6, max_size=30), data=st.data())
def test_the_order_of_the_rows_does_not_matter_bit_for_bit(rows, data):
    rows = [*rows, (0.5, "a"), (0.1, "b")]
    shuffled = data.draw(st.permutations(rows))
    first, second = (mean_interval(*zip(*some), resamples=100) for some in (rows, shuffled))
    assert first == second


@QUICK
@given(scores=SCORES)
def test_equal_scores_differ_by_exactly_nothing(scores):
    assert paired_difference(scores, scores, resamples=100) == Interval(0.0, 0.0, 0.0, 0.95)


@QUICK
@given(scores=SCORES, seed=st.integers(0, 99))
def test_swapping_the_two_negates_the_estimate(scores, seed):
    other = np.random.default_rng(seed).random(len(scores))
    one, two = (paired_difference(*pair, resamples=100) for pair in ((scores, other), (other, scores)))
    assert one.estimate == pytest.approx(-two.estimate, abs=1e-12)


def test_equal_arguments_give_equal_intervals_and_the_seed_counts():
    scores = np.random.default_rng(0).random(50)
    assert mean_interval(scores, seed=4) == mean_interval(scores, seed=4) != mean_interval(scores, seed=5)


def test_close_to_the_normal_interval_for_many_rows():
    scores = np.random.default_rng(1).random(2000)
    interval, half = mean_interval(scores), 1.96 * scores.std() / np.sqrt(len(scores))
    assert [interval.low, interval.high] == pytest.approx([scores.mean() - half, scores.mean() + half], abs=0.1 * half)


def test_copies_of_rows_do_not_narrow_the_clustered_interval():
    scores = np.random.default_rng(2).random(60)
    single = mean_interval(scores)
    naive = mean_interval(np.tile(scores, 4))
    clustered = mean_interval(np.tile(scores, 4), clusters=list(range(60)) * 4)
    assert [clustered.low, clustered.high] == pytest.approx([single.low, single.high])
    assert (clustered.high - clustered.low) > 1.6 * (naive.high - naive.low)


def test_unequal_clusters_weigh_by_their_rows():
    interval = mean_interval([1, 1, 1, 0, 0.5], clusters=["a", "a", "a", "b", "c"], resamples=4000, level=0.999)
    assert interval.estimate == pytest.approx(0.7)
    assert (interval.low, interval.high) == (0.0, 1.0)  # all three draws "b"; all three "a"


def test_clusters_may_be_any_kind_of_name():
    texts = mean_interval([0.1, 0.4, 0.9, 0.7], clusters=["x", "x", "y", "y"])
    assert texts == mean_interval([0.1, 0.4, 0.9, 0.7], clusters=[1, 1, 2, 2])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(200):
        dialogues = rng.normal(0.4, 0.1, 40)
        sizes = rng.integers(1, 6, 40)
        scores = np.repeat(dialogues, sizes) + rng.normal(0, 0.05, sizes.sum())
        interval = mean_interval(scores, clusters=np.repeat(np.arange(40), sizes), resamples=400)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.89 <= hits / 200 <= 0.985


def test_pairing_narrows_the_interval():
    hard = np.random.default_rng(4).random(100)
    better = hard + 0.02 + np.random.default_rng(5).normal(0, 0.01, 100)
    paired = paired_difference(better, hard)
    assert 0.01 < paired.low < paired.estimate < paired.high < 0.03
    assert mean_interval(better).low < mean_interval(hard).high


def test_reads_as_text():
    assert str(Interval(0.214, 0.181, 0.2449)) == "0.21 [0.18, 0.24]"
    assert f"{Interval(0.214, 0.181, 0.2449):+.1%}" == "+21.4% [+18.1%, +24.5%]"
    assert f"{Interval(-0.5, -1, 0)}" == "-0.50 [-1.00, 0.00]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one row"),
        (([[0.1, 0.2]],), "shape"),
        (([0.1, float("nan")],), r"scores\[1\] is nan"),
        (([0.1, 0.2], ["a"]), "1 names for 2 scores"),
        (([0.1, 0.2, 0.3], ["a", "a", "a"]), "all 3 rows are of one dialogue"),
        (([0.1],), "the only row is of one dialogue; .* give rows of at least two$"),
        (([0.1, 0.2], None, 95), "level=95"),
        (([0.1, 0.2], None, 0.95, 0), "resamples=0"),
    ],
)
def test_what_cannot_be_averaged_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(*arguments)


def test_unpaired_rows_are_named_with_both_lengths():
    with pytest.raises(ValueError, match="a has 2 scores, b has 3"):
        paired_difference([1, 2], [1, 2, 3])


def test_a_ratio_is_that_of_the_means_and_its_interval_covers_it_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        below = rng.normal(2.0, 0.5, 60)
        above = 0.3 * below + rng.normal(0, 0.4, 60)
        found = ratio_interval(above, below, resamples=300)
        assert found.estimate == pytest.approx(above.mean() / below.mean())
        hits += found.low <= 0.3 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_rows_of_a_ratio_stay_together_and_another_ratio_is_subtracted():
    below = np.linspace(1, 9, 40)
    exact = ratio_interval(0.25 * below, below)
    assert exact.low == pytest.approx(0.25) and exact.high == pytest.approx(0.25)  # the same in every draw
    less = ratio_interval(0.25 * below, below, minus=(0.75 * below[::-1], below[::-1]))
    assert less.estimate == pytest.approx(-0.5) and less.low == pytest.approx(-0.5)
    with pytest.raises(ValueError, match=r"\[40, 39\] numbers"):
        ratio_interval(below, below[1:])
    with pytest.raises(ValueError, match=r"minus\[1\]\[0\] is nan"):
        ratio_interval(below, below, minus=(below, below * np.nan))


def test_a_ratio_over_clusters_is_that_of_their_sums():
    above, below = [1.0, 2.0, 0.0, 4.0], [2.0, 2.0, 1.0, 5.0]
    over = ratio_interval(above, below, clusters=["a", "a", "b", "b"])
    assert over == ratio_interval([3.0, 4.0], [4.0, 6.0]) and over.estimate == pytest.approx(0.7)
