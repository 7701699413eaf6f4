import re
from itertools import product

import ipywidgets
import pytest

import helpers.visualization.widgets
from helpers.data.prompts import TEMPLATES
from helpers.models.generation import GenerationError
from helpers.models.sampling import next_token_logits
from helpers.settings import load_settings
from helpers.visualization.widgets import (
    TEMPERATURES,
    TOP_K,
    TOP_P,
    live_losses,
    live_metrics,
    next_token_explorer,
    next_token_figure,
    next_token_text,
    playground,
    playground_outputs,
    png,
)

PNG = b"\x89PNG"
USUAL = {
    "template": "none",
    "shots": 0,
    "temperature": 0.7,
    "top_k": 0,
    "top_p": 0.95,
    "num_beams": 1,
    "max_new_tokens": 4,
    "samples": 1,
    "seed": 0,
}


@pytest.fixture(scope="module")
def settings():
    return load_settings("pocket", max_prompt_tokens=128, max_new_tokens=6)


@pytest.fixture(scope="module")
def examples(dialogues, summaries):
    return [{"dialogue": dialogue, "summary": summary} for dialogue, summary in zip(dialogues[1:3], summaries[1:3])]


@pytest.fixture
def outputs(tiny_model, tiny_tokenizer, settings, examples, dialogues):
    """`playground_outputs` as a function of what differs from USUAL."""

    def call(dialogue=dialogues[0], **changed):
        return playground_outputs(tiny_model, tiny_tokenizer, settings, examples, dialogue, **{**USUAL, **changed})

    return call


def every(widget, *kinds):
    """All widgets of some kinds inside one, itself included."""
    inside = [found for child in getattr(widget, "children", ()) for found in every(child, *kinds)]
    return [widget, *inside] if isinstance(widget, kinds) else inside


def sliders(widget):
    return every(widget, ipywidgets.IntSlider, ipywidgets.FloatSlider)


def only(widget, kind):
    """The one widget of a kind inside another."""
    found = every(widget, kind)
    assert len(found) == 1
    return found[0]


def test_next_token_figure_at_both_ends_of_every_slider(tiny_model, tiny_tokenizer, dialogues):
    logits = next_token_logits(tiny_model, tiny_tokenizer, dialogues[0])
    for temperature, top_k, top_p in product(
        *((limits["min"], limits["max"]) for limits in (TEMPERATURES, TOP_K, TOP_P))
    ):
        figure = next_token_figure(logits, tiny_tokenizer, temperature, top_k, top_p, count=5)
        assert len(figure.axes[0].patches) == 10
        said = next_token_text(logits, tiny_tokenizer, temperature, top_k, top_p)
        left = int(re.search(r": ([\d,]+) of", said)[1].replace(",", ""))
        assert 1 <= left <= (top_k or len(logits))


def test_explorer_redraws_at_both_ends_of_every_slider(tiny_model, tiny_tokenizer, dialogues):
    explorer = next_token_explorer(tiny_model, tiny_tokenizer, dialogues[0])
    picture, found = only(explorer, ipywidgets.Image), sliders(explorer)
    assert len(found) == 3 and bytes(picture.value).startswith(PNG)
    for slider in found:
        usual = slider.value
        pictures = []
        for value in (slider.min, slider.max):
            slider.value = value
            pictures.append(bytes(picture.value))
        slider.value = usual
        assert all(value.startswith(PNG) for value in pictures) and pictures[0] != pictures[1]


ENDS = [
    ("shots", 0),
    ("shots", 2),
    ("temperature", TEMPERATURES["min"]),
    ("temperature", TEMPERATURES["max"]),
    ("top_k", TOP_K["max"]),
    ("top_p", TOP_P["min"]),
    ("top_p", TOP_P["max"]),
    ("num_beams", 8),
    ("max_new_tokens", 1),
    ("samples", 0),
    ("samples", 5),
    ("seed", 99),
    *(("template", name) for name in TEMPLATES),
]


@pytest.mark.parametrize(("name", "value"), ENDS)
def test_playground_at_both_ends_of_every_slider(outputs, name, value):
    page = outputs(**{name: value})
    assert "greedy" in page and "tokens in the prompt" in page
    assert page.count(">sample ") == (value if name == "samples" else 1)
    assert ("beam search" in page) == (name == "num_beams")


def test_the_same_seed_repeats_the_samples(outputs):
    settled = {"temperature": 2.0, "top_p": 1.0, "samples": 3}
    assert outputs(**settled, seed=3) == outputs(**settled, seed=3) != outputs(**settled, seed=4)


@pytest.mark.parametrize("dialogue", ["", "  \n "])
def test_an_empty_dialogue_is_a_message(outputs, dialogue):
    assert "is empty; a prompt needs a dialogue" in outputs(dialogue)


def test_a_dialogue_beyond_the_window_is_a_message(outputs, dialogues):
    assert "the window holds 128" in outputs("\n".join(dialogues))


def test_examples_that_do_not_fit_are_counted(outputs, dialogues):
    assert "of 2 examples fit" in outputs(shots=2)


def test_what_the_model_wrote_is_escaped(outputs, monkeypatch):
    monkeypatch.setattr(
        helpers.visualization.widgets,
        "generate",
        lambda model, tokenizer, prompts, **parameters: ["<script>alert(1)</script>"] * len(prompts),
    )
    page = outputs("#Person1#: <script>alert(2)</script>")
    assert "<script" not in page and page.count("&lt;script&gt;") == 2


def test_what_an_error_quotes_is_escaped(outputs, monkeypatch):
    def fails(*arguments, **parameters):
        raise GenerationError("prompt '<script>' is bad")

    monkeypatch.setattr(helpers.visualization.widgets, "generate", fails)
    page = outputs("#Person1#: <script>alert(2)</script>")
    assert "<script" not in page and "&lt;script&gt;" in page


def test_playground_runs_with_what_stands_in_it(tiny_model, tiny_tokenizer, settings, examples, dialogues):
    box = playground(tiny_model, tiny_tokenizer, settings, examples, dialogues[0])
    area, button, result = only(box, ipywidgets.Textarea), only(box, ipywidgets.Button), every(box, ipywidgets.HTML)[-1]
    assert "greedy" in result.value and area.value == dialogues[0]
    area.value = ""
    button.click()
    assert "is empty" in result.value and not button.disabled and button.description == "Generate"
    for slider in sliders(box):
        assert slider.min < slider.max and slider.min <= slider.value <= slider.max, slider.description


def test_the_button_comes_back_after_an_error_nobody_expected(
    tiny_model, tiny_tokenizer, settings, examples, dialogues, monkeypatch
):
    box = playground(tiny_model, tiny_tokenizer, settings, examples, dialogues[0])
    button = only(box, ipywidgets.Button)

    def fails(*arguments, **parameters):
        raise MemoryError

    monkeypatch.setattr(helpers.visualization.widgets, "playground_outputs", fails)
    button.click()  # a widget reports what its callback raised, and goes on
    assert not button.disabled and button.description == "Generate"


def test_playground_without_examples(tiny_model, tiny_tokenizer, settings, dialogues):
    box = playground(tiny_model, tiny_tokenizer, settings, [], dialogues[0])
    assert "greedy" in every(box, ipywidgets.HTML)[-1].value


def test_png_is_a_picture(tiny_model, tiny_tokenizer, dialogues):
    logits = next_token_logits(tiny_model, tiny_tokenizer, dialogues[0])
    assert png(next_token_figure(logits, tiny_tokenizer, 1.0, 0, 1.0)).startswith(PNG)


class Shown:
    """Stands for IPython's display: how many outputs there are, and every picture that one of them has had."""

    def __init__(self):
        self.outputs, self.pictures = 0, []

    def display(self, picture, display_id):
        assert display_id
        self.outputs += 1
        self.pictures.append(picture)
        return self

    def update(self, picture):
        self.pictures.append(picture)


def test_live_losses_are_one_picture_that_changes(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(helpers.visualization.widgets, "display", shown.display)
    live = live_losses("lora")
    live([[1, 3.0]], [])
    live([[1, 3.0], [2, 1.0]], [[2, 1.5]])
    first, second = shown.pictures
    assert shown.outputs == 1 and first.data.startswith(PNG) and second.data.startswith(PNG)
    assert first.data != second.data and "lora" in second.alt and not isinstance(first, ipywidgets.Widget)


def test_live_metrics_take_the_history_of_ppo(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(helpers.visualization.widgets, "display", shown.display)
    live = live_metrics(["score"])
    for steps in (1, 2):
        live([{"score": 0.1 * step, "kl": step} for step in range(steps)])
    assert shown.outputs == 1 and len(shown.pictures) == 2
    assert [axes.get_title(loc="left") for axes in live.draw([{"score": 1.0, "kl": 0.0}]).axes if axes.lines] == [
        "score"
    ]


def test_every_slider_has_a_field_with_a_name_and_its_value(tiny_model, tiny_tokenizer, settings, examples, dialogues):
    box = playground(tiny_model, tiny_tokenizer, settings, examples, dialogues[0])
    rows = [row for row in every(box, ipywidgets.HBox) if sliders(row)]
    assert len(rows) == len(sliders(box)) == 8
    for field, slider in (row.children for row in rows):
        assert field.description and (field.value, field.min, field.max) == (slider.value, slider.min, slider.max)
        slider.value = slider.max
        assert field.value == slider.max
        field.value = field.min
        assert slider.value == slider.min
    assert len({row.children[0].description for row in rows}) == 8


def test_a_field_shows_no_error_of_rounding_and_leaves_the_slider_alone(tiny_model, tiny_tokenizer, dialogues):
    row = next(row for row in every(next_token_explorer(tiny_model, tiny_tokenizer, dialogues[0]), ipywidgets.HBox))
    field, slider = row.children
    slider.value = 0.1 + 0.2 + 0.4  # 0.7000000000000001
    assert field.value == 0.7 and slider.value != 0.7


def test_the_explorers_sentence_says_what_its_figure_shows(tiny_model, tiny_tokenizer, dialogues):
    logits = next_token_logits(tiny_model, tiny_tokenizer, dialogues[0])
    sentence = helpers.visualization.widgets.next_token_text(logits, tiny_tokenizer, 0.5, 1, 1.0)
    assert (
        f"temperature 0.5, top-k 1, top-p 1: 1 of {len(logits)} tokens" in sentence
        and "100.0%" in sentence
        and sentence.count("%") == 1
    )
