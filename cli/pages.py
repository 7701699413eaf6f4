"""Pages: an executed notebook as one HTML file that needs no network, its figures as files, the index of all runs."""

from __future__ import annotations

import base64
from copy import deepcopy
from html import escape
from pathlib import Path
from urllib.parse import quote

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbformat import from_dict
from nbformat.v4 import new_output

from helpers.progress import VIEW

STATE = "application/vnd.jupyter.widget-state+json"
# What a page may do: show itself. Should a script ever get into one, browsers do not run it, nor fetch or send
# anything.
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file: data:; "
    "style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'\">"
)
# Notebooks are trusted, what they show is not: dialogues and models wrote it. Tags and styles that the kit's own tables
# use; no links, no style with an address.
OUTPUTS = SanitizeHTML(
    tags=[
        "b",
        "blockquote",
        "br",
        "code",
        "div",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "hr",
        "i",
        "li",
        "ol",
        "p",
        "pre",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ],
    attributes={"*": ["style"]},
    strip=True,
    safe_output_keys={"metadata", "text/plain", "image/png", "image/jpeg"},
    sanitized_output_types={"text/html"},  # formulas and Markdown can hold links
    styles=[
        "background-color",
        "border",
        "border-bottom",
        "border-collapse",
        "border-radius",
        "color",
        "display",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "margin",
        "max-width",
        "opacity",
        "padding",
        "text-align",
        "vertical-align",
        "white-space",
    ],
)
WITHOUT_SCRIPTS = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}POLICY{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}""".replace("POLICY", POLICY)
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 2rem}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem;
border-bottom:1px solid #ccc}img{max-width:22rem;margin:.3rem;border:1px solid #ccc}"""
HOLDS = {True: "✓ holds", False: "✗ does not hold", None: "measured"}


def formula(source: str, display: str) -> str:
    """LaTeX as MathML, "inline" or as a "block"; what the converter cannot read stays as its source."""
    try:
        return convert(source.replace("{aligned}", "{align*}"), display=display)  # it knows only the latter
    except Exception:
        return f"<code>{escape(source)}</code>"


class FormulaRenderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw themselves."""

    def block_math(self, body):
        """A formula on its own line."""
        return formula(body, "block")

    def inline_math(self, body):
        """A formula within a sentence."""
        return formula(body, "inline")

    def latex_environment(self, name, body):
        """An environment such as `aligned`."""
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


class PageExporter(HTMLExporter):
    """nbconvert's lab page, but without scripts from elsewhere."""

    @pass_context
    def markdown2html(self, context, source):
        """Markdown with its images embedded and its formulas as MathML."""
        renderer = FormulaRenderer(
            escape=False,
            embed_images=True,
            attachments=context.get("cell", {}).get("attachments", {}),
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def write_page(notebook, path: Path, images: Path):
    """Writes a notebook as one HTML file; links to images in its text start from the folder `images`. Outputs lose all
    that could act.
    """
    exporter = PageExporter(raw_template=WITHOUT_SCRIPTS, embed_images=True)
    page, _ = exporter.from_notebook_node(harmless(notebook), {"metadata": {"name": path.stem, "path": str(images)}})
    path.write_text(page, encoding="utf-8")


def harmless(notebook):
    """A copy whose outputs have lost all that could act: widgets stand still, scripts, links and all types but text and
    pictures are gone.
    """
    copy = still(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            OUTPUTS.sanitize_code_outputs(cell.outputs)
    return copy


def still(notebook):
    """A copy in which every widget is replaced by what it showed when the notebook was executed.

    Pages have no kernel and no scripts, so a slider cannot live there; its figure and its value can.
    """
    copy = deepcopy(notebook)
    widgets = copy.metadata.pop("widgets", {}).get(STATE, {}).get("state", {})
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = _without_views(cell.outputs, widgets)
    return copy


def _without_views(outputs, widgets):
    """The outputs, with those of widgets in place of the widgets."""
    return [
        shown
        for output in outputs
        if output.get("data") != {}
        for shown in (  # nothing is left of a progress bar that is done
            _shown(output["data"][VIEW]["model_id"], widgets) if VIEW in output.get("data", {}) else [output]
        )
    ]


def _shown(model_id, widgets):
    """Outputs that stand for one widget and those inside it; none for a closed one."""
    model = widgets.get(model_id, {}).get("state", {})
    kind = model.get("_model_name", "")
    if kind == "OutputModel":
        return _without_views([from_dict(output) for output in model["outputs"]], widgets)
    if "children" in model:
        inside = [output for child in model["children"] for output in _shown(child.removeprefix("IPY_MODEL_"), widgets)]
        if (
            kind == "HBoxModel" and inside and all("text/html" in output.get("data", {}) for output in inside)
        ):  # such as a progress bar's texts
            inside = [
                _html(f'<div style="display: flex">{"".join(output["data"]["text/html"] for output in inside)}</div>')
            ]
        return inside
    if kind == "ImageModel":
        values = [
            buffer["data"]
            for buffer in widgets[model_id].get("buffers", [])
            if buffer["path"] == ["value"] and buffer["data"]
        ]
        return [new_output("display_data", {f"image/{model.get('format', 'png')}": value}) for value in values]
    if kind in ("HTMLModel", "HTMLMathModel"):
        return [_html(f"<div>{model['value']}</div>")] if model["value"] else []
    value = model.get("value")
    if "_options_labels" in model and model.get("index") is not None:
        value = model["_options_labels"][model["index"]]
    if (
        value is None or "bar_style" in model or model.get("readout") is False
    ):  # the field beside such a slider has its value
        return []
    return [_html(f"<div>{escape(str(model.get('description', '')))} <b>{escape(str(value))}</b></div>")]


def _html(text):
    return new_output("display_data", {"text/html": text})


def write_figures(notebook, folder: Path, name: str) -> list[str]:
    """Writes each PNG output as `name`-cellNN-K.png (NN counts code cells), in place of the last run's files.

    Returns: the names written, in the notebook's order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-cell*.png"):
        old.unlink()
    written = []
    code = [cell for cell in still(notebook).cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        images = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        for count, image in enumerate(images, 1):
            written.append(f"{name}-cell{number:02d}-{count}.png")
            (folder / written[-1]).write_bytes(base64.b64decode(image))
    return written


def _table(head, rows):
    """An HTML table; the rows' cells are HTML already."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return (
        f"<table><thead><tr>{''.join(f'<th>{title}</th>' for title in head)}</tr></thead><tbody>"
        f"{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _thumbnail(name):
    """A figure's file as a small picture that leads to the large one."""
    file = f"figures/{quote(name, safe='')}"
    return f'<a href="{file}"><img src="{file}" loading="lazy" alt="{escape(name)}"></a>'


def index_page(results: list[dict], machine: dict[str, str]) -> str:
    """The index as HTML: labs with their times, what was measured, figures, machine and versions.

    Args:
        results: what `cli.run` knows of each lab (keys of `running.new_result`), in the order to show them.
        machine: facts by name, versions included.
    """
    labs = [
        (
            # Quoted, no name is an address.
            f'<a href="{quote(result["name"], safe="")}.html">{escape(result["title"])}</a>',
            f'<a href="{quote(result["name"], safe="")}.ipynb">notebook</a>',
            escape(result["status"]),
            escape(f"{result['cells_run']} of {result['cells']}"),
            f"{result['seconds']:.1f} s",
            escape(result["profile"]),
            escape(result["finished"]),
        )
        for result in results
    ]
    claims = [
        (
            escape(result["title"]),
            escape(str(claim.get("claim", ""))),
            escape(str(claim.get("value", ""))),
            HOLDS[claim.get("holds")],
        )
        for result in results
        for claim in result["claims"]
    ]
    figures = "".join(
        f"<h3>{escape(result['title'])}</h3>" + "".join(_thumbnail(name) for name in result["figures"])
        for result in results
        if result["figures"]
    )
    parts = [
        "<h1>Lab kit: results</h1><h2>Labs</h2>",
        _table(("lab", "executed", "status", "cells", "time", "profile", "finished"), labs),
        "<h2>What was measured</h2>",
        _table(("lab", "claim", "measured", "holds"), claims) if claims else "<p>No claims yet.</p>",
        f"<h2>Figures</h2>{figures or '<p>None yet.</p>'}<h2>Machine and versions</h2>",
        _table(("what", "value"), [(escape(name), escape(value)) for name, value in machine.items()]),
    ]
    head = (
        f'<meta charset="utf-8">{POLICY}<meta name="viewport" content="width=device-width"><title>Lab kit: '
        "results</title>"
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{"".join(parts)}</body></html>'
    )
