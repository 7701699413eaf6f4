"""The ranking widget, clicked as a labeler clicks."""

import ipywidgets as widgets

from helpers.alignment.human_feedback import FeedbackStore, Item
from helpers.visualization.explorers import ranking_widget


def buttons(box):
    """The buttons of the completions, in the order of the screen."""
    return [line.children[0] for line in box.children[3].children]


def test_clicks_become_rankings_and_texts_are_escaped(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", [Item("a", "<script>alert(1)</script>", ("<b>x</b>", "y", "")), Item("b", "p", ("u", "v"))])
    box = ranking_widget(store, "Which is <kinder>?")
    labeler, status, prompt, rows, undo = box.children
    assert not rows.children and undo.disabled
    labeler.value = "Ann"
    assert "0 of 2 ranked by Ann" in status.value and "&lt;kinder&gt;" in status.value and "<script>" not in prompt.value
    assert all("<b>x" not in line.children[1].value for line in rows.children) and len(buttons(box)) == 3
    buttons(box)[1].click()
    assert buttons(box)[1].disabled and buttons(box)[1].description == "1." and not undo.disabled
    undo.click()
    assert undo.disabled and not store.rankings()
    buttons(box)[2].click()
    buttons(box)[0].click()
    assert len(store.rankings()) == 1 and "1 of 2" in status.value and len(buttons(box)) == 2
    buttons(box)[0].click()
    assert "Nothing is left" in prompt.value and not rows.children and len(store.rankings()) == 2


def test_a_name_is_asked_for_and_another_labeler_starts_afresh(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", [Item("a", "p", ("x", "y"))])
    box = ranking_widget(store, "Which?")
    box.children[0].value = "   "
    assert "labeler: is empty" in box.children[1].value
    box.children[0].value = "Ann"
    buttons(box)[0].click()
    box.children[0].value = " "
    assert not box.children[3].children and box.children[4].disabled and box.children[2].value == "", "nothing is left to click on"
    box.children[0].value = "Bo"
    assert "0 of 1 ranked by Bo" in box.children[1].value and isinstance(buttons(box)[0], widgets.Button)
