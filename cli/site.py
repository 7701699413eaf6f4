"""What `kit.py site` does: executed labs and documents become static pages with search and a dark mode.

The pages open from disk without a network. Labs and documents are first written as files for Sphinx, with links that
work in the site.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import nbformat
from docutils.nodes import SkipNode, image
from nbformat.v4 import new_markdown_cell
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from cli.api_pages import ApiError, write_api
from cli.executed_labs import Executed, ExecutedError, read_all, write_pictures
from cli.pages import PICTURES, command, formula, harmless
from cli.run import plain
from cli.student import find_notebooks

START = "README.md"  # becomes index.html
DOCUMENTS = (
    "docs/concepts.md",
    "docs/glossary.md",
    "docs/results.md",
    "docs/claims.md",
    "docs/teaching.md",
    "docs/troubleshooting.md",
    "docs/structure.md",
    "docs/dependencies.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "pocket/data/README.md",
    "pocket/scenarios/README.md",
    "pocket/model/README.md",
    "pocket/reward/README.md",
)
# Code stays as it is: only what stands outside of it can be a link.
CODE_OR_LINK = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?^[ \t]*(?P=fence)[^\n]*$|`[^`\n]+`|"
    r"(?P<picture>!?)\[(?P<label>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
OPTIONS = {
    "project": "Lab kit for generative AI",
    "html_title": "Lab kit for generative AI",
    "language": "en",
    "extensions": ["myst_nb", "sphinx.ext.githubpages", "cli.site"],
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 4,
    "myst_heading_slug_func": "cli.site.slug",
    "html_math_renderer": "mathml",
    "html_theme": "furo",
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "html_use_index": False,
    "html_domain_indices": False,
    "toc_object_entries_show_parents": "hide",
    "maximum_signature_line_length": 100,
    "python_use_unqualified_type_names": True,
    "html_show_search_summary": False,
    "highlight_language": "none",
    "smartquotes": False,
}
# Code of 100 characters fits; figures have dark letters in a dark page too.
STYLE = """.content { box-sizing: border-box; width: 66em; max-width: 100% } .sidebar-drawer { width: calc(50% - 33em) }
article img { background: white } article pre { font-size: .8rem }
div.formula { margin: 1rem 0; overflow-x: auto } .cell_output div { overflow-x: auto }
.cell_output pre { white-space: pre-wrap }
"""
# What a page may do: show itself, with the theme's own scripts. Should one ever get out of an output, browsers neither
# run it nor fetch or send anything.
POLICY = (
    "default-src 'none'; script-src 'self' file: {scripts}; style-src 'self' file: 'unsafe-inline'; img-src "
    "'self' file: data:; "
    "font-src 'self' file:; base-uri 'none'; form-action 'self' file:"
)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub writes it; it makes the same of an anchor of Jupyter's
    ("8.-Choosing-the-next-token").
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def relink(text: str, place: str, pages: set[str]) -> str:
    """Markdown whose links work in the site: anchors are those of `slug`.

    Of a link to a file that is no page its words are left, and so they are of a picture from elsewhere, which no page
    may fetch.

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
        return f"[{match['label']}](<{file}{'#' if anchor else ''}{slug(anchor)}>)"

    return CODE_OR_LINK.sub(link, text)


def note(run: Executed) -> str:
    """What a reader of a lab's page should know of its results."""
    if not run.executed:
        return f"*Not executed yet: `{command(run.lab.stem)}` does it, and this page then shows the results.*"
    profile = f" with the profile `{run.profile}`" if run.profile else ""
    still = f"Sliders stand where the run left them; `{command(run.lab.stem, 'open')}` opens the lab to move them."
    return (
        f"*Executed{profile}. {still}*" if not run.complaint else f"*Executed{profile}, but: {run.complaint}. {still}*"
    )


def write_lab(run: Executed, place: str, pages: set[str], folder: Path):
    """Writes one lab with the results of its run; without scripts and whatever else could act in them."""
    notebook = harmless(run.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, place, pages)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):  # else the search takes the words of neighbouring cells for one
                output.data["text/html"] = re.sub(r"(</(?:td|th|li|p)>)", r"\1\n", output.data["text/html"])
    notebook.cells.insert(1, new_markdown_cell(note(run)))
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / place)


def contents(labs: list[str], documents: list[str], api: list[str]) -> str:
    """The list of pages for the start page's end, where it is not shown: labs, extras, documents, API."""
    extras = [lab for lab in labs if "/extras/" in lab]
    parts = {"Labs": [lab for lab in labs if lab not in extras], "Extras": extras, "Documents": documents, "API": api}
    return "".join(
        f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(places) + "\n```\n"
        for title, places in parts.items()
        if places
    )


def write_pages(runs: list[Executed], root: Path, folder: Path):
    """Writes labs, documents and their pictures into the folder `folder`, each in its place within the kit, README.md
    as index.md.
    """
    labs = [run.lab.relative_to(root).as_posix() for run in runs]
    documents = [name for name in DOCUMENTS if (root / name).exists()]
    pages = {START, *labs, *documents}
    for run, place in zip(runs, labs, strict=True):
        write_lab(run, place, pages, folder)
    api = write_api(root, folder)
    for name in (START, *documents):
        text = relink((root / name).read_text(encoding="utf-8"), name, pages)
        place = folder / (name if name != START else "index.md")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + (contents(labs, documents, api) if name == START else ""), encoding="utf-8")
    (folder / "docs").mkdir(exist_ok=True)
    for picture in (root / "docs").glob("*.png"):
        shutil.copy(picture, folder / "docs" / picture.name)


class SiteError(ValueError):
    """A folder that cannot take a site; the message says what to do."""


def setup(app: Sphinx) -> dict:
    """Makes this module an extension of Sphinx: formulas as MathML, which browsers draw themselves; pictures with
    alternative texts.
    """
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("doctree-read", _describe_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _describe_pictures(app, doctree):
    """Gives the pictures of a lab's page their alternative texts; myst-nb leaves them in the notebook."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    texts = {
        hashlib.sha256(base64.b64decode(output.data[mime])).hexdigest(): output.metadata[mime]["alt"]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        for mime in PICTURES
        if mime in output.get("data", {})
    }
    for node in doctree.findall(image):
        node.setdefault("alt", texts.get(PurePosixPath(node["uri"]).stem, ""))


def _visit_inline(writer, node):
    writer.body.append(formula(node.astext(), "inline"))
    raise SkipNode


def _visit_block(writer, node):
    writer.body.append(f'<div class="formula">{formula(node.astext(), "block")}</div>')
    raise SkipNode


def render(source: Path, made: Path) -> list[str]:
    """Sphinx's part: pages of `source` into the folder `made`. Returns its warnings."""
    warnings, static = io.StringIO(), source / "_static"
    static.mkdir()
    (static / "kit.css").write_text(STYLE, encoding="utf-8")
    with patch_docutils(), docutils_namespace():
        Sphinx(
            source,
            None,
            made,
            source.with_name("doctrees"),
            "html",
            status=None,
            warning=warnings,
            confoverrides=OPTIONS | {"html_static_path": [str(static)], "html_css_files": ["kit.css"]},
        ).build()
    return plain(warnings.getvalue()).replace(str(source), "").splitlines()


def protect(made: Path):
    """Writes into every page what it may do. The scripts allowed are those of the search page, on which nothing of a
    lab stands.
    """
    inline = re.findall(r"<script>(.*?)</script>", (made / "search.html").read_text(encoding="utf-8"), re.DOTALL)
    allowed = (f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in inline)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(scripts=" ".join(allowed))}">'
    for path in made.rglob("*.html"):
        page = re.sub(
            r"<meta charset=[^>]*>", lambda charset: charset[0] + meta, path.read_text(encoding="utf-8"), count=1
        )
        path.write_text(page, encoding="utf-8")


def build_site(root: Path, build: Path, target: Path, pictures: bool = False) -> list[str]:
    """Builds the site of a kit into `target`, in place of an older one.

    Args:
        root: of the kit.
        build: folder with executed labs.
        pictures: first write the README's pictures from these runs.
    Returns: what to know about it: labs that were not executed as they stand, Sphinx's warnings.
    Raises:
        ExecutedError: no executed lab, or one from which no site or no pictures can be made.
        SiteError: `target` holds something else than a site.
    """
    if target.exists() and (
        not target.is_dir() or (any(target.iterdir()) and not (target / "searchindex.js").exists())
    ):
        raise SiteError(f"{target}: holds something else than a site; name another folder with --out")
    runs = read_all(find_notebooks(root), build)
    if pictures:
        print(f"pictures in docs/: {', '.join(write_pictures(runs, root / 'docs'))}")
    with tempfile.TemporaryDirectory() as work:
        source, made = Path(work).resolve() / "source", Path(work).resolve() / "made"
        source.mkdir()
        write_pages(runs, root, source)
        warnings = render(source, made)
        protect(made)
        for old in target.iterdir() if target.exists() else ():
            if old.is_dir() and old.name != ".git":  # of a site that is published by pushing the folder
                shutil.rmtree(old)
            elif not old.is_dir():
                old.unlink()
        shutil.copytree(made, target, dirs_exist_ok=True)
    return [run.complaint for run in runs if run.complaint] + warnings


def site(root: Path, build: Path, target: Path, pictures: bool = False) -> int:
    """The command `kit.py site`. Returns the exit status."""
    try:
        for note in build_site(root, build, target, pictures):
            print(f"kit.py site: {note}", file=sys.stderr)
    except (ExecutedError, SiteError, ApiError, OSError) as error:
        print(f"kit.py site: {error}", file=sys.stderr)
        return 2
    print(f"site: {target / 'index.html'}")
    return 0
