"""Rankings: kept whatever happens, read back as given; agreement, consensus and pairs against cases that can be counted
by hand.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from helpers.alignment.human_feedback import (
    FeedbackError,
    FeedbackStore,
    Item,
    Ranking,
    RankingSession,
    agreement,
    best_and_worst,
    consensus,
    people_first,
    politeness,
    preference_pairs,
    simulated_order,
    simulated_panel,
    stored_rankings,
)

ROOT = Path(__file__).resolve().parents[2]
ITEMS = (Item("a", "prompt <b>", ("one", "two 'quoted'", "three")), Item("b", "other", ("x", "y", "x")))
ORDERS = st.permutations(range(4))


def test_rankings_come_back_and_a_second_thought_replaces_the_first(tmp_path):
    store = FeedbackStore(tmp_path / "deep" / "feedback.sqlite", ITEMS)
    for ranking in (Ranking("Ann", "a", (0, 1, 2)), Ranking("Bo", "a", (2, 1, 0)), Ranking(" Ann ", "a", (1, 0, 2))):
        store.add(ranking)
    again = FeedbackStore(store.path)
    assert again.rankings() == [Ranking("Ann", "a", (1, 0, 2)), Ranking("Bo", "a", (2, 1, 0))] and again.items == {
        item.name: item for item in ITEMS
    }
    assert [item.name for item in again.unranked("Ann")] == ["b"] and len(again.unranked("Cy")) == 2


@pytest.mark.parametrize(
    ("ranking", "named"),
    [
        (Ranking("  ", "a", (0, 1, 2)), "labeler: is empty"),
        (Ranking("Ann", "c", (0, 1)), "item: 'c' is not among the 2 items"),
        (Ranking("Ann", "a", (0, 1)), "does not hold each of 0 to 2 once"),
        (Ranking("Ann", "a", (0, 1, 1)), "does not hold each"),
    ],
)
def test_rankings_that_make_no_sense_are_named(ranking, named, tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", ITEMS)
    with pytest.raises(FeedbackError, match=named):
        store.add(ranking)
    assert store.rankings() == []


def test_a_file_of_other_completions_or_of_something_else_is_named(tmp_path):
    FeedbackStore(tmp_path / "feedback.sqlite", ITEMS)
    with pytest.raises(FeedbackError, match="holds other completions for the item 'a'"):
        FeedbackStore(tmp_path / "feedback.sqlite", [Item("a", "prompt <b>", ("one", "zwei", "three"))])
    (tmp_path / "letter.txt").write_text("Dear all, " * 200, encoding="utf-8")
    with pytest.raises(FeedbackError, match=r"letter\.txt: file is not a database"):
        FeedbackStore(tmp_path / "letter.txt")


def test_several_programs_add_at_once_and_nothing_is_lost(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", [Item(str(number), "p", ("x", "y")) for number in range(20)])
    program = (
        "import sys; from helpers.alignment.human_feedback import FeedbackStore, Ranking; store = "
        "FeedbackStore(sys.argv[1]);"
        "[store.add(Ranking(sys.argv[2], name, (1, 0))) for name in store.items]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(store.path), name], cwd=ROOT)
        for name in ("Ann", "Bo", "Cy")
    ]
    assert [process.wait(timeout=600) for process in running] == [0, 0, 0]
    assert len(store.rankings()) == 60 and not any(store.unranked(name) for name in ("Ann", "Bo", "Cy"))


def test_alpha_is_1_for_the_same_ranks_about_0_for_chance_and_negative_for_opposites():
    same = [Ranking(name, str(item), (0, 1, 2, 3)) for name in "AB" for item in range(5)]
    opposite = [Ranking("A", "i", (0, 1, 2, 3)), Ranking("B", "i", (3, 2, 1, 0))]
    rng = np.random.default_rng(0)
    chance = [Ranking(name, str(item), tuple(rng.permutation(4).tolist())) for name in "ABC" for item in range(400)]
    assert agreement(same) == pytest.approx(1) and agreement(opposite) < -0.5 and abs(agreement(chance)) < 0.06
    with pytest.raises(FeedbackError, match="no item was ranked by two labelers"):
        agreement([Ranking("A", "i", (0, 1)), Ranking("B", "j", (0, 1))])


@given(ORDERS)
def test_the_consensus_of_one_mind_is_that_mind(order):
    given_orders = [Ranking(name, "i", tuple(order)) for name in "ABC"]
    assert consensus(given_orders) == {"i": tuple(order)}


def test_the_majority_decides():
    orders = [Ranking("A", "i", (2, 0, 1)), Ranking("B", "i", (2, 1, 0)), Ranking("C", "i", (0, 2, 1))]
    assert consensus(orders) == {"i": (2, 0, 1)}  # mean ranks 1, 5/3, 1/3


def test_equal_means_are_drawn_by_the_seed_whatever_the_other_items_are():
    even = [Ranking(name, str(item), order) for item in range(60) for name, order in (("A", (0, 1)), ("B", (1, 0)))]
    firsts = [order[0] for order in consensus(even, seed=3).values()]
    assert 15 < sum(firsts) < 45 and consensus(even, seed=3) == consensus(even, seed=3) != consensus(even, seed=4)
    assert consensus(even[10:], seed=3) == {item: consensus(even, seed=3)[item] for item in map(str, range(5, 60))}


def test_what_people_ranked_takes_the_place_of_simulated_rankings_of_the_same_item():
    people = [Ranking("Ann", "a", (1, 0)), Ranking("Bo", "a", (0, 1))]
    simulated = [Ranking(name, item, (0, 1)) for item in "ab" for name in "XY"]
    assert people_first(people, simulated) == [*people, *simulated[2:]] and people_first([], simulated) == simulated


def test_n_completions_give_n_n_minus_1_half_pairs_and_equal_texts_none():
    pairs = preference_pairs({"a": (2, 0, 1), "b": (0, 1, 2)}, {item.name: item for item in ITEMS})
    assert pairs == [
        ("a", "three", "one"),
        ("a", "three", "two 'quoted'"),
        ("a", "one", "two 'quoted'"),
        ("b", "x", "y"),
        ("b", "y", "x"),
    ]


def test_without_noise_the_panel_ranks_by_utility_and_with_it_as_bradley_and_terry_say():
    rng = np.random.default_rng(1)
    assert simulated_order([0.1, 2.0, -1.0], 0, rng) == (1, 0, 2)
    ties = [simulated_order([1.0, 1.0, 2.0], 0, rng) for _ in range(200)]
    assert {order[0] for order in ties} == {2} and 60 < sum(order[1] for order in ties) < 140
    wins = np.mean([simulated_order([1.0, 0.0], 2.0, rng)[0] == 0 for _ in range(20_000)])
    assert wins == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.01)


def test_a_session_leads_through_the_items_and_goes_on_where_it_was(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", ITEMS)
    session = RankingSession(store, " Ann ")
    assert session.item.name == "a" and sorted(session.shown()) == [0, 1, 2] and session.done == 0
    session.choose(2)
    session.choose(2)
    session.undo()
    session.choose(1)
    session.choose(0)
    assert store.rankings() == [Ranking("Ann", "a", (1, 0, 2))] and session.item.name == "b" and session.chosen == []
    again = RankingSession(FeedbackStore(store.path), "Ann")
    assert (again.done, again.item.name) == (1, "b") and RankingSession(store, "Bo").done == 0
    again.choose(1)
    again.choose(2)
    assert again.item is None and again.done == 2
    with pytest.raises(FeedbackError, match="labeler: is empty"):
        RankingSession(store, " ")


def test_places_on_the_screen_differ_between_labelers(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", [Item("a", "p", tuple("abcdef"))])
    assert len({tuple(RankingSession(store, name).shown()) for name in "ABCDEFGH"}) > 4


def test_stored_rankings_keep_files_apart(tmp_path):
    for number, texts in enumerate((("a", "b"), ("b", "c"))):
        store = FeedbackStore(tmp_path / "deep" / f"rankings-{number}.sqlite", [Item("x", "prompt", texts)])
        store.add(Ranking("Ann", "x", (1, 0)))
    FeedbackStore(tmp_path / "rankings-2.sqlite", [Item("y", "prompt", ("a", "b"))])
    rankings, items = stored_rankings(tmp_path)
    assert [ranking.item for ranking in rankings] == ["rankings-0|x", "rankings-1|x"] == list(items)
    assert [item.completions for item in items.values()] == [("a", "b"), ("b", "c")]
    assert stored_rankings(tmp_path / "nowhere") == ([], {})


def test_a_broken_file_of_rankings_is_named(tmp_path):
    (tmp_path / "rankings-broken.sqlite").write_text("no database, but a text", encoding="utf-8")
    with pytest.raises(FeedbackError, match="rankings-broken.sqlite"):
        stored_rankings(tmp_path)


def test_the_panel_ranks_by_its_taste():
    items = [Item("x", "p", ("#Person1# calls #Person2# an idiot.", "#Person1# is angry.", "They talk."))]
    rankings = simulated_panel(items, politeness, 0.0, seed=1)
    assert [ranking.order for ranking in rankings] == [(2, 1, 0)] * 3 and len({r.labeler for r in rankings}) == 3
    assert [politeness(text) for text in items[0].completions] == [-3, -1, 0]
    noisy = simulated_panel(items * 1, politeness, 50.0, seed=1, labelers="ABCDEFGH")
    assert len({ranking.order for ranking in noisy}) > 1


def test_the_best_stands_against_the_worst():
    items = {name: Item(name, f"p{name}", texts) for name, texts in (("x", ("a", "b", "c")), ("y", ("d", "d", "e")))}
    assert best_and_worst({"x": (2, 0, 1), "y": (0, 2, 1)}, items) == [("px", "c", "b")]
