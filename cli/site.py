"""The site: executed labs and documents as static pages with search and a dark mode, which open from disk without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from docutils.nodes import SkipNode
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from cli.executed_labs import ExecutedError, read_all
from cli.student import find_notebooks
from cli.pages import formula
from cli.pictures import write_pictures
from cli.run import plain
from cli.site_pages import write_pages

OPTIONS = {
    "project": "Lab kit for generative AI", "html_title": "Lab kit for generative AI", "language": "en",
    "extensions": ["myst_nb", "sphinx.ext.githubpages", "cli.site"], "nb_execution_mode": "off", "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["dollarmath", "amsmath"], "myst_heading_anchors": 4, "myst_heading_slug_func": "cli.site_pages.slug",
    "html_math_renderer": "mathml", "html_theme": "furo", "html_copy_source": False, "html_show_sphinx": False, "html_show_copyright": False,
    "html_use_index": False, "html_show_search_summary": False, "highlight_language": "none", "smartquotes": False}
# Code of 100 characters fits; figures have dark letters in a dark page too.
STYLE = """.content { box-sizing: border-box; width: 66em; max-width: 100% } .sidebar-drawer { width: calc(50% - 33em) }
article img { background: white } article pre { font-size: .8rem }
div.formula { margin: 1rem 0; overflow-x: auto } .cell_output div { overflow-x: auto } .cell_output pre { white-space: pre-wrap }
"""
# What a page may do: show itself, with the theme's own scripts. Should one ever get out of an output, browsers neither run it nor fetch or send anything.
POLICY = ("default-src 'none'; script-src 'self' file: {scripts}; style-src 'self' file: 'unsafe-inline'; img-src 'self' file: data:; "
          "font-src 'self' file:; base-uri 'none'; form-action 'self' file:")


class SiteError(ValueError):
    """A folder that cannot take a site; the message says what to do."""


def setup(app: Sphinx) -> dict:
    """Makes this module an extension of Sphinx: formulas as MathML, which browsers draw themselves."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


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
        Sphinx(source, None, made, source.with_name("doctrees"), "html", status=None, warning=warnings,
               confoverrides=OPTIONS | {"html_static_path": [str(static)], "html_css_files": ["kit.css"]}).build()
    return plain(warnings.getvalue()).replace(str(source), "").splitlines()


def protect(made: Path):
    """Writes into every page what it may do. The scripts allowed are those of the search page, on which nothing of a lab stands."""
    inline = re.findall(r"<script>(.*?)</script>", (made / "search.html").read_text(encoding="utf-8"), re.DOTALL)
    allowed = (f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in inline)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(scripts=" ".join(allowed))}">'
    for path in made.rglob("*.html"):
        page = re.sub(r"<meta charset=[^>]*>", lambda charset: charset[0] + meta, path.read_text(encoding="utf-8"), count=1)
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
    if target.exists() and (not target.is_dir() or any(target.iterdir()) and not (target / "searchindex.js").exists()):
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
            if old.is_dir() and old.name != ".git":     # of a site that is published by pushing the folder
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
    except (ExecutedError, SiteError, OSError) as error:
        print(f"kit.py site: {error}", file=sys.stderr)
        return 2
    print(f"site: {target / 'index.html'}")
    return 0
