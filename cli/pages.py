"""Pages: an executed notebook as one HTML file that needs no network, its figures as files, the index of all runs."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
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
from PIL import Image

from helpers.evaluation.claims import CLAIMS_MIME
from helpers.progress import VIEW

PICTURES = {"image/png": "data_png", "image/jpeg": "data_jpg"}  # and the block of nbconvert's template for each
HEADLINE = re.compile(r"headline(?::([1-9]\d*))?")  # the tag of a cell whose first, second … claim stands for the lab
STATE = "application/vnd.jupyter.widget-state+json"
# What a page may do: show itself. Should a script ever get into one, browsers do not run it, nor fetch or send
# anything.
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file: data:; "
    "style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'\">"
)
# Notebooks are trusted, what they show is not: dialogues and models wrote it. Tags and styles that the kit's own tables
# use; no links, no style with an address.
TAGS = (
    "b blockquote br code details div em h1 h2 h3 h4 hr i li ol p pre small span strong sub summary sup table tbody td "
    "th thead tr ul"
)
STYLES = (
    "background-color border border-bottom border-collapse border-radius color display font-family font-size "
    "font-style font-weight margin max-width opacity padding text-align vertical-align white-space"
)
OUTPUTS = SanitizeHTML(
    tags=TAGS.split(),
    attributes={"*": ["style"]},
    strip=True,
    safe_output_keys={"metadata", "text/plain", "image/png", "image/jpeg"},
    sanitized_output_types={"text/html"},  # formulas and Markdown can hold links
    styles=STYLES.split(),
)
WITHOUT_SCRIPTS = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}POLICY{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}""".replace("POLICY", POLICY)
# nbconvert's block for pictures knows no alternative text.
PICTURE = """{% block BLOCK scoped %}<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:MIME;base64,{{ output.data['MIME'] | escape_html }}"
alt="{{ output | get_metadata('alt', 'MIME') | escape_html }}"
{%- for name in ('width', 'height') if output | get_metadata(name, 'MIME') %}
{{ name }}="{{ output | get_metadata(name, 'MIME') | escape_html }}"{% endfor %}></div>{% endblock %}"""
TEMPLATE = WITHOUT_SCRIPTS + "".join(
    PICTURE.replace("BLOCK", block).replace("MIME", mime) for mime, block in PICTURES.items()
)
STYLE = """:root{color-scheme:light dark;--page:#fff;--card:#f6f7f9;--line:#d5d9df;--ink:#1f2328;--soft:#57606a;
--link:#0b57a4;--good:#1a6b3c;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2127;--line:#3a414a;--ink:#e4e7eb;--soft:#a5aeb8;
--link:#82b8f2;--good:#7fd09b;--bad:#ff9b90}}
*{box-sizing:border-box}body{font:1rem/1.55 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1.5rem 1rem 4rem;
color:var(--ink);background:var(--page);overflow-wrap:anywhere}
h1{line-height:1.2;margin:0}h2{margin:0;font-size:1.3rem;line-height:1.3}a{color:var(--link)}
.lab,.machine{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1.2rem;margin:1.2rem 0}
.facts{color:var(--soft);margin:.3rem 0;font-size:.92rem}.good{color:var(--good)}.bad{color:var(--bad)}
.shown{font-size:1.1rem;margin:.7rem 0;max-width:60rem}nav ul{padding-left:1.2rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:.7rem;margin:1rem 0}
.figures a{display:flex;align-items:center;justify-content:center;background:#fff;border:1px solid var(--line);
border-radius:.4rem;padding:.4rem;min-height:8rem}.figures img{max-width:100%;max-height:16rem}
code{background:var(--page);border:1px solid var(--line);border-radius:.3rem;padding:.1rem .4rem;white-space:nowrap}
summary{cursor:pointer;padding:.3rem 0}.wide{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);
min-width:5rem}
@media(max-width:40rem){.lab,.machine{padding:.8rem}.figures{grid-template-columns:1fr}.figures img{max-height:none}}"""
HOLDS = {True: "✓ holds", False: "✗ does not hold", None: "measured"}


def command(lab: str, verb: str = "run") -> str:
    """What a user types to run or to open the lab with this file name (without its ending)."""
    return f"python kit.py {verb} {int(lab[:2]) if lab[:2].isdecimal() else lab}"


def headings(text: str) -> list[str]:
    """The headings in a Markdown text, without marks; lines of code that begin with # are none."""
    prose = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [without_marks(line) for line in re.findall(r"^#{1,6} +(.+)$", prose, re.MULTILINE)]


def without_marks(text: str) -> str:
    """Markdown as plain words on one line."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"\*+|`", "", text).split())


def collect_claims(cells: Iterable) -> list[dict]:
    """All claims that cells have shown through `helpers.evaluation.claims`, in order."""
    return [
        claim
        for cell in cells
        for output in cell.get("outputs", [])
        for claim in output.get("data", {}).get(CLAIMS_MIME, [])
    ]


def main_result(notebook) -> str:
    """What the run of a lab showed, in one sentence.

    It is the claim that the lab marks, with its measured value: the first of a cell tagged `headline`, the second of
    one tagged `headline:2`. Without such a claim it is the first sentence of the section "Summary".

    Returns: plain text; "" if there is neither.
    """
    for cell in notebook.cells:
        for tag in filter(None, map(HEADLINE.fullmatch, cell.metadata.get("tags", []))):
            for claim in collect_claims([cell])[int(tag[1] or 1) - 1 :]:
                text, verdict = str(claim.get("claim", "")), claim.get("holds")
                note = "" if verdict else f" ({'measured, not asserted' if verdict is None else HOLDS[verdict][2:]})"
                return f"{text[:1].upper()}{text[1:]}: {claim.get('value', '')}{note}."
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^## Summary\s*\n+(?:[-*] +)?(.+?)(?=\n *[-*] |\n *\n|\Z)", prose, re.MULTILINE | re.DOTALL)
    words = without_marks(found[1]) if found else ""
    return re.split(r"(?<=[.?!])\s", words, maxsplit=1)[0]


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
    exporter = PageExporter(raw_template=TEMPLATE, embed_images=True)
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
    """A copy in which every widget is replaced by what it showed when the notebook was executed, and in which every
    picture has an alternative text.

    Pages have no kernel and no scripts, so a slider cannot live there; its figure and its value can.
    """
    copy = deepcopy(notebook)
    widgets = copy.metadata.pop("widgets", {}).get(STATE, {}).get("state", {})
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = _without_views(cell.outputs, widgets)
    _describe_pictures(copy)
    return copy


def _describe_pictures(notebook):
    """Gives every picture an alternative text: its own (`helpers.visualization.alt_text`), or the section it is in."""
    section, counted = "", Counter()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = [section, *headings(cell.source)][-1]
        for output in cell.get("outputs", []):
            for mime in PICTURES.keys() & output.get("data", {}).keys():
                given = output.setdefault("metadata", {}).setdefault(mime, {})
                own = " ".join(str(given.get("alt") or _description(output.data[mime])).split())
                if not own:
                    counted[section] += 1
                    own = f"Figure {counted[section]}" if counted[section] > 1 else "Figure"
                    own += f" of section “{section}”" if section else " without a description"
                given["alt"] = own


def _description(picture: str) -> str:
    """The description inside a picture's file, such as `helpers.visualization.widgets` writes; "" without one."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
            return str(opened.info.get("Description", ""))
    except (OSError, ValueError, binascii.Error, Image.DecompressionBombError):
        return ""


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


def write_figures(notebook, folder: Path, name: str) -> dict[str, str]:
    """Writes each PNG output as `name`-cellNN-K.png (NN counts code cells), in place of the last run's files.

    Returns: {name written: alternative text}, in the notebook's order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-cell*.png"):
        old.unlink()
    written = {}
    code = [cell for cell in still(notebook).cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        drawn = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        for count, output in enumerate(drawn, 1):
            file = f"{name}-cell{number:02d}-{count}.png"
            (folder / file).write_bytes(base64.b64decode(output.data["image/png"]))
            written[file] = output.metadata["image/png"]["alt"]
    return written


def duration(seconds: float) -> str:
    """A time as people say it: "45 s", "1 min 47 s", "1 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _table(head, rows):
    """An HTML table that scrolls where it is too wide; the rows' cells are HTML already."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return (
        f'<div class="wide"><table><thead><tr>{"".join(f"<th>{title}</th>" for title in head)}</tr></thead><tbody>'
        f"{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table></div>"
    )


def _thumbnail(name, text):
    """A figure's file as a small picture that leads to the large one."""
    file = f"figures/{quote(name, safe='')}"
    return f'<a href="{file}"><img src="{file}" loading="lazy" alt="{escape(text)}"></a>'


def _counted(claims: Sequence[dict]) -> str:
    """How many of the claims hold."""
    held, asserted = (sum(claim.get("holds") in kinds for claim in claims) for kinds in ((True,), (True, False)))
    parts = [f"{held} of {asserted} claims hold"] if asserted else []
    parts += [f"{len(claims) - asserted} claims measured, not asserted"] if len(claims) > asserted else []
    return ", ".join(parts) or "no claims yet"


def _lab(result: dict) -> str:
    """What the index shows of one lab."""
    name, finished = quote(result["name"], safe=""), result["status"] == "finished"
    facts = [
        f'<span class="{"good" if finished else "bad"}">{escape(result["status"])}</span>',
        escape(f"{result['cells_run']} of {result['cells']} cells"),
        duration(result["seconds"]),
        escape(f"profile {result['profile']}"),
        escape(result["finished"]),
    ]
    if result.get("size", "full") != "full":
        facts.insert(1, f"{escape(result['size'])} size: numbers mean nothing")
    texts = result.get("alt_texts", {})
    figures = [_thumbnail(file, texts.get(file) or f"Figure of {result['title']}") for file in result["figures"]]
    place = quote(result.get("notebook", "").lstrip("/"), safe="/")
    links = [f'<a href="{name}.html">Executed page</a>', f'<a href="{name}.ipynb">executed notebook</a>']
    links += [f'<a href="{place}">lab without results</a>'] if place else []
    links += [f"to work in it: <code>{escape(command(result['name'], 'open'))}</code>"]
    claims = [
        (escape(str(claim.get("claim", ""))), escape(str(claim.get("value", ""))), HOLDS[claim.get("holds")])
        for claim in result["claims"]
    ]
    counted = _counted(result["claims"])
    parts = [
        f'<h2>{escape(result["title"])}</h2><p class="facts">{" · ".join(facts)}</p>',
        f'<p class="shown">{escape(result["shown"])}</p>' if result.get("shown") else "",
        f"<p>{' · '.join(links)}</p>",
        f'<div class="figures">{"".join(figures)}</div>' if figures else "",
        f"<details><summary>{counted}</summary>{_table(('claim', 'measured', 'holds'), claims)}</details>"
        if claims
        else f"<p>{counted}</p>",
    ]
    return f'<section class="lab" id="{name}">{"".join(parts)}</section>'


def index_page(results: list[dict], machine: dict[str, str]) -> str:
    """The index as HTML: each lab with what it showed, its time, figures and claims; machine and versions.

    Args:
        results: what `cli.run` knows of each lab (keys of `run.new_result`), in the order to show them.
        machine: facts by name, versions included.
    """
    claims = [claim for result in results for claim in result["claims"]]
    spent = duration(sum(result["seconds"] for result in results))
    said = f"{len(results)} labs, {spent}, {_counted(claims)}" if len(results) > 1 else ""
    entries = [
        f'<li><a href="#{quote(result["name"], safe="")}">{escape(result["title"])}</a>, '
        f"{duration(result['seconds'])}, {_counted(result['claims'])}</li>"
        for result in results
    ]
    facts = _table(("what", "value"), [(escape(name), escape(value)) for name, value in machine.items()])
    parts = [
        f'<header><h1>Lab kit: results</h1><p class="facts">{said}</p></header>',
        f"<nav><ul>{''.join(entries)}</ul></nav>" if len(results) > 1 else "",
        "<main>",
        "".join(map(_lab, results))
        or "<p>No lab was run yet: <code>python kit.py run</code> runs all numbered ones.</p>",
        f'<section class="machine"><details><summary>Machine and versions</summary>{facts}</details></section></main>',
    ]
    head = (
        f'<meta charset="utf-8">{POLICY}<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Lab kit: results</title><style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'
