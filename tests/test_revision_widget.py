"""The sliders over rounds: what they show at both ends, and that texts cannot do anything on the page."""

import ipywidgets as widgets
import pytest

from helpers.visualization.explorers import rounds_browser, rounds_table

ROUNDS = [("answer", ["<b>fool</b>", "kind"]), ("round 1", ["friend", "kind"]), ("round 2", ["friend", "kinder"])]


@pytest.mark.parametrize(("example", "shown", "inside", "outside"), [
    (0, 0, ["&lt;b&gt;fool"], ["friend", "<b>fool"]), (0, 2, ["&lt;b&gt;fool", "friend", "(as before)"], ["kind"]), (1, 1, ["kind", "(as before)"], ["kinder"]),
    (1, 2, ["kind", "(as before)", "kinder"], ["friend"])])
def test_rounds_stand_below_one_another(example, shown, inside, outside):
    page = rounds_table(ROUNDS, example, shown).data
    assert all(text in page for text in inside) and not any(text in page for text in outside)


@pytest.mark.parametrize(("example", "shown"), [(2, 0), (-1, 0), (0, 3), (0, -1)])
def test_what_is_not_there_is_refused(example, shown):
    with pytest.raises(ValueError, match="there are 2 answers, from 0, and 2 rounds"):
        rounds_table(ROUNDS, example, shown)


def test_the_sliders_redraw_at_both_ends():
    browser = rounds_browser(ROUNDS)
    sliders = [row.children[1] for row in browser.children[:2]]
    found = browser.children[-1]
    assert isinstance(found, widgets.HTML) and "friend" in found.value
    for example in (sliders[0].min, sliders[0].max):
        for shown in (sliders[1].min, sliders[1].max):
            sliders[0].value, sliders[1].value = example, shown
            assert found.value == rounds_table(ROUNDS, example, shown).data
