"""What a site is made of: labs with their results and documents, their links such that they work in the site, as files for Sphinx."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import nbformat
from nbformat.v4 import new_markdown_cell

from cli.executed_labs import Executed, command
from cli.pages import harmless

START = "README.md"     # becomes index.html
DOCUMENTS = ("docs/concepts.md", "docs/glossary.md", "docs/teaching.md", "docs/troubleshooting.md", "pocket/data/README.md",
             "pocket/scenarios/README.md", "pocket/model/README.md", "pocket/reward/README.md")
# Code stays as it is: only what stands outside of it can be a link.
CODE_OR_LINK = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?^[ \t]*(?P=fence)[^\n]*$|`[^`\n]+`|"
                          r"(?P<picture>!?)\[(?P<label>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub writes it; it makes the same of an anchor of Jupyter's ("8.-Choosing-the-next-token")."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def relink(text: str, place: str, pages: set[str]) -> str:
    """Markdown whose links work in the site: anchors are those of `slug`.

    Of a link to a file that is no page its words are left, and so they are of a picture from elsewhere, which no page may fetch.

    Args:
        place: of the text within the kit ("docs/concepts.md"); relative links start from there.
        pages: places of all that become pages.
    """
    def link(match):
        target = match["target"]
        if target is None:
            return match[0]
        if match["picture"] or ELSEWHERE.match(target):
            return match["label"] if match["picture"] and ELSEWHERE.match(target) else match[0]
        file, _, anchor = unquote(target).partition("#")
        path = PurePosixPath(os.path.normpath(PurePosixPath(place).parent / file)).as_posix() if file else place
        path = path.replace(os.sep, "/")
        if path not in pages:
            return match["label"]
        if file and path == START:
            file = file.removesuffix(START) + "index.md"
        return f'[{match["label"]}](<{file}{"#" if anchor else ""}{slug(anchor)}>)'
    return CODE_OR_LINK.sub(link, text)


def note(run: Executed) -> str:
    """What a reader of a lab's page should know of its results."""
    if not run.executed:
        return f"*Not executed yet: `{command(run.lab)}` does it, and this page then shows the results.*"
    profile = f" with the profile `{run.profile}`" if run.profile else ""
    still = f"Sliders stand where the run left them; `{command(run.lab).replace(' run ', ' open ')}` opens the lab to move them."
    return f"*Executed{profile}. {still}*" if not run.complaint else f"*Executed{profile}, but: {run.complaint}. {still}*"


def write_lab(run: Executed, place: str, pages: set[str], folder: Path):
    """Writes one lab with the results of its run; without scripts and whatever else could act in them."""
    notebook = harmless(run.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, place, pages)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):       # else the search takes the words of neighbouring cells for one
                output.data["text/html"] = re.sub(r"(</(?:td|th|li|p)>)", r"\1\n", output.data["text/html"])
    notebook.cells.insert(1, new_markdown_cell(note(run)))
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / place)


def contents(labs: list[str], documents: list[str]) -> str:
    """The list of pages for the start page's end, where it is not shown: labs, extras, documents."""
    extras = [lab for lab in labs if "/extras/" in lab]
    parts = {"Labs": [lab for lab in labs if lab not in extras], "Extras": extras, "Documents": documents}
    return "".join(f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(places) + "\n```\n" for title, places in parts.items() if places)


def write_pages(runs: list[Executed], root: Path, folder: Path):
    """Writes labs, documents and their pictures into the folder `folder`, each in its place within the kit, README.md as index.md."""
    labs = [run.lab.relative_to(root).as_posix() for run in runs]
    documents = [name for name in DOCUMENTS if (root / name).exists()]
    pages = {START, *labs, *documents}
    for run, place in zip(runs, labs, strict=True):
        write_lab(run, place, pages, folder)
    for name in (START, *documents):
        text = relink((root / name).read_text(encoding="utf-8"), name, pages)
        place = folder / (name if name != START else "index.md")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + (contents(labs, documents) if name == START else ""), encoding="utf-8")
    (folder / "docs").mkdir(exist_ok=True)
    for picture in (root / "docs").glob("*.png"):
        shutil.copy(picture, folder / "docs" / picture.name)
