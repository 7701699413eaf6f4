"""Pages: widgets stand still, every picture has an alternative text, the index says what each lab showed."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cli.pages import (
    CLAIMS_MIME,
    STATE,
    STYLE,
    VIEW,
    command,
    duration,
    harmless,
    headings,
    index_page,
    main_result,
    still,
    write_figures,
    write_page,
)
from cli.student import find_notebooks
from helpers.visualization.palette import luminance

ROOT = Path(__file__).resolve().parents[2]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


def test_a_widget_is_replaced_by_what_it_showed():
    figure = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}
    state = {
        "box": {
            "_model_name": "VBoxModel",
            "children": ["IPY_MODEL_slider", "IPY_MODEL_choice", "IPY_MODEL_out", "IPY_MODEL_mute"],
        },
        "mute": {"_model_name": "FloatSliderModel", "readout": False, "value": 0.12345},
        "slider": {"_model_name": "FloatSliderModel", "description": "top <p>", "value": 0.7},
        "choice": {"_model_name": "DropdownModel", "description": "how", "_options_labels": "ab", "index": 1},
        "out": {"_model_name": "OutputModel", "outputs": [figure]},
    }
    views = [new_output("display_data", {VIEW: {"model_id": name}}) for name in ("box", "closed")]
    cell = new_code_cell("show()", outputs=[*views, new_output("display_data", {})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {name: {"state": model} for name, model in state.items()}
        }
    }
    shown = still(notebook)
    texts = [output.data.get("text/html") for output in shown.cells[0].outputs]
    assert texts == ["<div>top &lt;p&gt; <b>0.7</b></div>", "<div>how <b>b</b></div>", None]
    assert shown.cells[0].outputs[2].data["image/png"] == "AAAA"
    assert "widgets" in notebook.metadata and "widgets" not in shown.metadata, "the notebook itself must not change"


def test_a_widgets_picture_is_shown_and_written(tmp_path):
    widget = {
        "state": {"_model_name": "ImageModel", "format": "png"},
        "buffers": [{"path": ["value"], "encoding": "base64", "data": "AAAA"}],
    }
    cell = new_code_cell("show()", outputs=[new_output("display_data", {VIEW: {"model_id": "picture"}})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {
        STATE: {"state": {"picture": widget, "empty": {"state": {"_model_name": "ImageModel"}}}}
    }
    assert [output.data for output in still(notebook).cells[0].outputs] == [{"image/png": "AAAA"}]
    assert (
        list(write_figures(notebook, tmp_path, "lab")) == ["lab-cell01-1.png"]
        and (tmp_path / "lab-cell01-1.png").read_bytes() == b"\0\0\0"
    )
    cell.outputs[0].data[VIEW]["model_id"] = "empty"
    assert still(notebook).cells[0].outputs == []


def test_the_texts_of_a_progress_bar_stay_on_one_line():
    state = {
        "bar": {"_model_name": "HBoxModel", "children": ["IPY_MODEL_before", "IPY_MODEL_progress", "IPY_MODEL_after"]},
        "before": {"_model_name": "HTMLModel", "value": "generating: 100%"},
        "after": {"_model_name": "HTMLModel", "value": "8/8"},
        "progress": {"_model_name": "FloatProgressModel", "bar_style": "success", "value": 8.0},
    }
    cell = new_code_cell("show()", outputs=[new_output("display_data", {VIEW: {"model_id": "bar"}})])
    notebook = new_notebook(cells=[cell])
    notebook.metadata.widgets = {STATE: {"state": {name: {"state": model} for name, model in state.items()}}}
    (shown,) = still(notebook).cells[0].outputs
    assert shown.data["text/html"] == '<div style="display: flex"><div>generating: 100%</div><div>8/8</div></div>'


def test_a_formula_is_drawn_or_stays_as_text(tmp_path):
    text = "$\\left( x < 1$ and $$\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}$$"
    write_page(new_notebook(cells=[new_markdown_cell(text)]), tmp_path / "page.html", tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<code>\\left( x &lt; 1</code>" in page and page.count("<mtr>") == 2 and "<mi>&amp;</mi>" not in page


def picture(alt=None, mime="image/png", data=PIXEL):
    """An output that shows a picture."""
    return new_output("display_data", {mime: data}, metadata={mime: {"alt": alt}} if alt else {})


def drawn(**metadata):
    """A figure's file in base64."""
    buffer = io.BytesIO()
    Figure(figsize=(1, 1)).savefig(buffer, format="png", metadata=metadata)
    return base64.b64encode(buffer.getvalue()).decode()


def page_of(folder, *cells):
    """A notebook of these cells as a page."""
    write_page(new_notebook(cells=list(cells)), folder / "page.html", folder)
    return BeautifulSoup((folder / "page.html").read_text(encoding="utf-8"), "html.parser")


def test_a_picture_has_its_own_text_or_that_in_its_file_or_its_section(tmp_path):
    cells = [
        new_code_cell(outputs=[picture()]),
        new_markdown_cell("## 4. *How* long\n```python\n# no heading\n```"),
        new_code_cell(outputs=[picture("Loss over steps"), picture(data=drawn(Description="größer als −1\n"))]),
        new_code_cell(outputs=[picture(data=drawn()), picture(mime="image/jpeg"), picture(data="AAAA"), picture(" ")]),
    ]
    page = page_of(tmp_path, *cells)
    assert [image["alt"] for image in page.find_all("img")] == [
        "Figure without a description",
        "Loss over steps",
        "größer als −1",
        "Figure of section “4. How long”",
        "Figure 2 of section “4. How long”",
        "Figure 3 of section “4. How long”",
        "Figure 4 of section “4. How long”",
    ]


def test_an_alternative_text_cannot_act(tmp_path):
    text = '"><script>hit()</script><img src=x onerror="hit()">'
    output = picture(text)
    output.metadata["image/png"] |= {"width": '1" onload="hit()', "height": 20}
    page = page_of(tmp_path, new_code_cell(outputs=[output]))
    (image,) = page.find_all("img")
    assert (image["alt"], image["width"], image["height"]) == (text, '1" onload="hit()', "20")
    assert set(image.attrs) == {"src", "alt", "width", "height"} and page.find_all("script") == []


def test_folded_settings_stay_folded():
    output = new_output("display_data", {"text/html": "<details ontoggle='hit()'><summary>all</summary>x</details>"})
    (shown,) = harmless(new_notebook(cells=[new_code_cell(outputs=[output])])).cells[0].outputs
    assert shown.data["text/html"] == "<details><summary>all</summary>x</details>"


def claims(*texts, holds=True):
    """An output that shows claims."""
    found = [{"claim": text, "value": f"{number} [0, 9]", "holds": holds} for number, text in enumerate(texts, 1)]
    return new_output("display_data", {CLAIMS_MIME: found})


@pytest.mark.parametrize(
    "tags, holds, sentence",
    [
        (["headline"], True, "LoRA gains: 1 [0, 9]."),
        (["picture:a", "headline:2"], True, "Longer is better: 2 [0, 9]."),
        (["headline"], None, "LoRA gains: 1 [0, 9] (measured, not asserted)."),
        (["headline"], False, "LoRA gains: 1 [0, 9] (does not hold)."),
        (["headline:3"], True, "Examples show the form, and the task."),
        (["headlines", "headline:0"], True, "Examples show the form, and the task."),
        ([], True, "Examples show the form, and the task."),
    ],
)
def test_a_lab_says_in_one_sentence_what_it_showed(tags, holds, sentence):
    checked = new_code_cell(metadata={"tags": tags}, outputs=[claims("LoRA gains", "longer is better", holds=holds)])
    summary = new_markdown_cell(
        "## Summary\n- Examples **show** the form,\n  and [the task](x.md). They cost tokens.\n- b"
    )
    cells = [new_code_cell(outputs=[claims("other")]), checked, summary]
    assert main_result(new_notebook(cells=cells)) == sentence


def test_a_notebook_without_claims_and_summary_says_nothing():
    assert main_result(new_notebook(cells=[new_markdown_cell("# Lab"), new_code_cell("1")])) == ""


@pytest.mark.parametrize("lab", find_notebooks(ROOT), ids=lambda lab: lab.stem)
def test_every_lab_has_a_sentence_for_the_index(lab):
    sentence = main_result(nbformat.read(lab, as_version=4))  # cleared: the first sentence of its Summary
    assert 30 < len(sentence) < 250 and sentence.endswith(".") and not re.search(r"[*`]|\]\(", sentence)


def test_headings_are_those_outside_of_code():
    text = "# One\ntext\n```\n# no\n```\n~~~~ python\n# nor this\n~~~\n# nor\n~~~~\n### Two `x` [three](y)\n#four"
    assert headings(text) == ["One", "Two x three"]


@pytest.mark.parametrize(
    "seconds, words",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (107, "1 min 47 s"), (3600, "1 h 0 min"), (7530, "2 h 5 min")],
)
def test_times_are_told_as_people_do(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("lab, typed", [("03_ppo_detoxification", "3"), ("12_more", "12"), ("pruning", "pruning")])
def test_the_command_of_a_lab(lab, typed):
    assert (command(lab), command(lab, "open")) == (f"python kit.py run {typed}", f"python kit.py open {typed}")


RESULT = {
    "name": "02_tuning",
    "title": "Lab 2 · Tuning <b>",
    "profile": "pocket",
    "size": "full",
    "status": "finished",
    "cells": 7,
    "cells_run": 7,
    "seconds": 107.1,
    "finished": "2026-11-27 23:01",
    "shown": "LoRA gains <much>: 0.2.",
    "notebook": "../labs/02 tuning.ipynb",
    "claims": [{"claim": "a", "value": "1", "holds": True}, {"claim": "b < c", "value": "2", "holds": False}],
    "figures": ["one.png", "two.png"],
    "alt_texts": {"one.png": 'Loss "over" steps'},
}


def test_the_index_shows_of_a_lab_what_matters():
    page = BeautifulSoup(index_page([RESULT], {"Python": "3.12"}), "html.parser")
    (lab,) = page.find_all(class_="lab")
    assert (
        lab.h2.get_text() == "Lab 2 · Tuning <b>" and lab.find(class_="shown").get_text() == "LoRA gains <much>: 0.2."
    )
    assert "finished · 7 of 7 cells · 1 min 47 s · profile pocket" in lab.find(class_="facts").get_text()
    assert lab.code.get_text() == "python kit.py open 2"
    links = [link["href"] for link in lab.find_all("a")]
    assert links[:3] == ["02_tuning.html", "02_tuning.ipynb", "../labs/02%20tuning.ipynb"]
    assert [image["alt"] for image in lab.find_all("img")] == ['Loss "over" steps', "Figure of Lab 2 · Tuning <b>"]
    assert not lab.details.has_attr("open") and lab.details.summary.get_text() == "1 of 2 claims hold"
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in lab.details.find_all("tr")]
    assert rows[1:] == [["a", "1", "✓ holds"], ["b < c", "2", "✗ does not hold"]]


def test_the_index_lists_several_labs_and_what_they_took_together():
    page = BeautifulSoup(index_page([RESULT, RESULT | {"name": "side", "title": "Side"}], {}), "html.parser")
    assert page.header.p.get_text() == "2 labs, 3 min 34 s, 2 of 4 claims hold"
    assert [link["href"] for link in page.nav.find_all("a")] == ["#02_tuning", "#side"]
    assert all(page.find(id=link["href"][1:]) for link in page.nav.find_all("a"))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"status": "cell 3 failed", "shown": ""}, "cell 3 failed · 7 of 7"),
        ({"size": "quick"}, "finished · quick size: numbers mean nothing · 7 of 7"),
        ({"claims": [{"claim": "a", "value": "1", "holds": None}]}, "1 claims measured, not asserted"),
        ({"claims": []}, "no claims yet"),
    ],
)
def test_the_index_says_what_to_make_of_a_run(changes, words):
    assert words in BeautifulSoup(index_page([RESULT | changes], {}), "html.parser").get_text()


def test_results_of_an_older_kit_are_shown_as_far_as_they_go():
    older = {name: RESULT[name] for name in RESULT.keys() - {"size", "shown", "notebook", "alt_texts"}}
    page = BeautifulSoup(index_page([older], {}), "html.parser")
    assert [image["alt"] for image in page.find_all("img")] == ["Figure of Lab 2 · Tuning <b>"] * 2


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_words_of_the_index_can_be_read_in_a_light_and_a_dark_window(dark):
    blocks = re.findall(r":root\{([^}]*)\}", STYLE)
    colours = dict(re.findall(r"--(\w+):(#\w+)", blocks[dark]))
    assert len(blocks) == 2 and "prefers-color-scheme:dark" in STYLE
    for back in ("page", "card"):
        for front in ("ink", "soft", "link", "good", "bad"):
            bright, deep = sorted((luminance(colours[back]), luminance(colours[front])), reverse=True)
            assert (bright + 0.05) / (deep + 0.05) >= 4.5, (back, front)


def test_an_empty_index_is_a_page():
    assert "No lab was run yet" in index_page([], {"Python": "3.12"})
