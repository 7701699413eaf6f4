"""Controls of the lab on applications: both ends of every slider, and texts that are escaped."""

import ipywidgets as widgets
import pytest

from helpers.applications.agent import Trace, take_step
from helpers.visualization.explorers import documents_page, documents_slider, step_page, step_slider

DOCUMENTS = ["The red lamp costs 7 pounds.", "The <b>hat</b> costs 9 pounds.", "A rope."]


def parts(box, kind):
    return [widget for row in box.children for widget in ([row] if not hasattr(row, "children") else row.children) if isinstance(widget, kind)]


def test_the_page_says_what_fits_and_what_is_dropped(tiny_tokenizer):
    everything = documents_page("Where?", DOCUMENTS, tiny_tokenizer, 3, 128)
    assert "3 of 3" in everything and "nothing" in everything and "<b>hat" not in everything and "&lt;b&gt;hat" in everything
    one = documents_page("Where?", DOCUMENTS, tiny_tokenizer, 3, len(tiny_tokenizer("The red lamp costs 7 pounds.\n\nQuestion: Where?\nAnswer:")["input_ids"]))
    assert "1 of 3" in one and "dropped" in one
    assert "the question alone takes" in documents_page("Where?", DOCUMENTS, tiny_tokenizer, 3, 2)


def test_both_ends_of_both_sliders(tiny_tokenizer):
    box = documents_slider("Where?", DOCUMENTS, tiny_tokenizer, 128)
    (page,), (count, window) = parts(box, widgets.HTML), parts(box, widgets.IntSlider)
    seen = set()
    for first in (count.min, count.max):
        for second in (window.min, window.max):
            count.value, window.value = first, second
            assert page.value == documents_page("Where?", DOCUMENTS, tiny_tokenizer, first, second)
            seen.add(page.value)
    assert len(seen) >= 3


def test_steps_one_by_one():
    trace = Trace("Where is the <i>lamp</i>?")
    take_step(trace, "Thought: look\nAction: search[ lamp ]", {"search": lambda name: "in the hall"})
    take_step(trace, "Action: finish[ in the hall ]", {})
    box = step_slider(trace)
    (page,), (slider,) = parts(box, widgets.HTML), parts(box, widgets.IntSlider)
    assert (slider.min, slider.max) == (1, 2) and page.value == step_page(trace, 1)
    slider.value = 2
    assert page.value == step_page(trace, 2) != step_page(trace, 1) and "in the hall" in page.value and "&lt;i&gt;" in page.value
    with pytest.raises(ValueError, match="trace: has no steps"):
        step_slider(Trace("?"))
