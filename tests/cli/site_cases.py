"""A site of the kit itself, built from the labs as they stand; one of them has got outputs that attack whoever opens
its page.
"""

from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_output

from cli.site import build_site
from cli.student import find_notebooks

ROOT = Path(__file__).resolve().parents[2]
NOT_EXECUTED, ATTACKED = "03_ppo_detoxification", "01_dialogue_summarization"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="  # a PNG
GREY = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="  # another one
ALT = '"><script>hit()</script> of a loss'
WORD = "quagga"  # stands in an output and nowhere else
ATTACKS = {
    "text/html": f'<p onclick="hit()">{WORD}</p><script>hit()</script><img src="https://example.org/x.png" '
    'onerror="hit()">'
    '<a href="javascript:hit()">here</a><div style="background: url(https://example.org/y.png)">there</div>',
    "application/javascript": "hit()",
    "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" onload="hit()"><script>hit()</script></svg>',
    "text/markdown": "<script>hit()</script>\n\n```{raw} html\n<script>hit()</script>\n```",
    "text/latex": "$\\href{javascript:hit()}{x}$",
    "application/vnd.jupyter.widget-view+json": {"model_id": "closed"},
}


class Built(NamedTuple):
    """A site and what was said while it was built."""

    folder: Path
    notes: list[str]


def build_attacked(work: Path) -> Built:
    """Builds it below the folder `work`."""
    build = work / "build"
    build.mkdir()
    for lab in find_notebooks(ROOT):
        notebook = nbformat.read(lab, as_version=4)
        if lab.stem == ATTACKED:
            cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
            cell.outputs = [new_output("display_data", {mime: content}) for mime, content in ATTACKS.items()]
            cell.outputs.append(new_output("stream", text="<script>hit()</script>\n"))
            drawn = {"data": {"image/png": PIXEL}, "metadata": {"image/png": {"alt": ALT}}}
            cell.outputs += [new_output("display_data", **drawn), new_output("display_data", {"image/png": GREY})]
        if lab.stem != NOT_EXECUTED:
            nbformat.write(notebook, build / lab.name)
    return Built(work / "site", build_site(ROOT, build, work / "site"))
