"""Controls of the lab on applications: both ends of every slider, and texts that are escaped.

The sliders over rounds: what they show at both ends, and that texts cannot do anything on the page.
The ranking widget, clicked as a labeler clicks.
"""

import ipywidgets as widgets
import pytest

from helpers.alignment.human_feedback import FeedbackStore, Item
from helpers.applications.agent import Tool, Trace, action_text, take_step
from helpers.visualization.explorers import (
    documents_page,
    documents_slider,
    ranking_widget,
    rounds_browser,
    rounds_table,
    step_page,
    step_slider,
)

DOCUMENTS = ["The red lamp costs 7 pounds.", "The <b>hat</b> costs 9 pounds.", "A rope."]


def build(shown):
    return "\n".join([*shown, "\nQuestion: Where?\nAnswer:"])


def parts(box, kind):
    return [
        widget
        for row in box.children
        for widget in ([row] if not hasattr(row, "children") else row.children)
        if isinstance(widget, kind)
    ]


def test_the_page_says_what_fits_and_what_is_dropped(tiny_tokenizer):
    everything = documents_page(DOCUMENTS, build, tiny_tokenizer, 3, 128)
    assert (
        "3 of 3" in everything
        and "nothing" in everything
        and "<b>hat" not in everything
        and "&lt;b&gt;hat" in everything
    )
    one = documents_page(
        DOCUMENTS,
        build,
        tiny_tokenizer,
        3,
        len(tiny_tokenizer("The red lamp costs 7 pounds.\n\nQuestion: Where?\nAnswer:")["input_ids"]),
    )
    assert "1 of 3" in one and "dropped" in one
    assert "the question alone takes" in documents_page(DOCUMENTS, build, tiny_tokenizer, 3, 2)


def test_both_ends_of_both_sliders(tiny_tokenizer):
    box = documents_slider(DOCUMENTS, build, tiny_tokenizer, 128)
    (page,), (count, window) = parts(box, widgets.HTML), parts(box, widgets.IntSlider)
    seen = set()
    for first in (count.min, count.max):
        for second in (window.min, window.max):
            count.value, window.value = first, second
            assert page.value == documents_page(DOCUMENTS, build, tiny_tokenizer, first, second)
            seen.add(page.value)
    assert len(seen) >= 3


def test_steps_one_by_one():
    trace = Trace("Where is the <i>lamp</i>?")
    tools = {"search": Tool(lambda name: "in the hall")}
    take_step(trace, action_text("look", "search", "lamp"), tools)
    take_step(trace, action_text("done", "finish", "in the hall"), tools)
    box = step_slider(trace)
    (page,), (slider,) = parts(box, widgets.HTML), parts(box, widgets.IntSlider)
    assert (slider.min, slider.max) == (1, 2) and page.value == step_page(trace, 1)
    slider.value = 2
    assert (
        page.value == step_page(trace, 2) != step_page(trace, 1)
        and "in the hall" in page.value
        and "&lt;i&gt;" in page.value
    )
    with pytest.raises(ValueError, match="trace: has no steps"):
        step_slider(Trace("?"))


def buttons(box):
    """The buttons of the completions, in the order of the screen."""
    return [line.children[0] for line in box.children[3].children]


def test_clicks_become_rankings_and_texts_are_escaped(tmp_path):
    store = FeedbackStore(
        tmp_path / "feedback.sqlite",
        [Item("a", "<script>alert(1)</script>", ("<b>x</b>", "y", "")), Item("b", "p", ("u", "v"))],
    )
    box = ranking_widget(store, "Which is <kinder>?")
    labeler, status, prompt, rows, undo = box.children
    assert not rows.children and undo.disabled
    labeler.value = "Ann"
    assert (
        "0 of 2 ranked by Ann" in status.value and "&lt;kinder&gt;" in status.value and "<script>" not in prompt.value
    )
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
    assert not box.children[3].children and box.children[4].disabled and box.children[2].value == "", (
        "nothing is left to click on"
    )
    box.children[0].value = "Bo"
    assert "0 of 1 ranked by Bo" in box.children[1].value and isinstance(buttons(box)[0], widgets.Button)


ROUNDS = [("answer", ["<b>fool</b>", "kind"]), ("round 1", ["friend", "kind"]), ("round 2", ["friend", "kinder"])]


@pytest.mark.parametrize(
    ("example", "shown", "inside", "outside"),
    [
        (0, 0, ["&lt;b&gt;fool"], ["friend", "<b>fool"]),
        (0, 2, ["&lt;b&gt;fool", "friend", "(as before)"], ["kind"]),
        (1, 1, ["kind", "(as before)"], ["kinder"]),
        (1, 2, ["kind", "(as before)", "kinder"], ["friend"]),
    ],
)
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
