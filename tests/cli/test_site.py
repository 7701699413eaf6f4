"""The site: every link leads somewhere, nothing is fetched, outputs cannot act; the README's pictures come from real
runs.
"""

import ast
import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib.image
import nbformat
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cli.api_pages import ApiError, words, write_api
from cli.executed_labs import ExecutedError, named, read_all, read_executed, write_pictures
from cli.publish import Address, set_up_cell
from cli.site import DOCUMENTS, SiteError, build_site, relink, render, site, slug
from cli.student import find_notebooks
from tests.cli.site_cases import ALT, ATTACKED, NOT_EXECUTED, PIXEL, ROOT, WORD

PACKAGED = [path for name in ("helpers", "sweeps") for path in (ROOT / name).rglob("__init__.py")]
PYTHON = {"language_info": {"name": "python"}}


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched, self.handlers, self.headings, self.inside = {}, [], [], [], {}, ""
        self.sections, self.inline, self.pictures = [], 0, []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given["id"]: tag} if "id" in given else {}
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.fetched += [given[name] for name in ("src", "href", "data") if tag != "a" and given.get(name)]
        self.handlers += [name for name in given if name.startswith("on")]
        self.pictures += [given] if tag == "img" else []
        self.inline += tag == "script" and "src" not in given
        if tag == "section":
            self.sections.append(given["id"])
        elif re.fullmatch("h[1-6]", tag) and self.sections:
            self.inside = self.sections[-1]

    def handle_endtag(self, tag):
        if tag == "section":
            self.sections.pop()
        elif re.fullmatch("h[1-6]", tag):
            self.inside = ""

    def handle_data(self, data):
        if self.inside:
            self.headings[self.inside] = self.headings.get(self.inside, "") + data


@pytest.fixture(scope="module")
def pages(built_site):
    """{path of a page: what is in it}."""
    return {path: Page(path) for path in sorted(built_site.folder.rglob("*.html"))}


def page_of(pages, name):
    return next(page for path, page in pages.items() if path.as_posix().endswith(name))


def test_every_lab_and_document_is_a_page_in_its_place(built_site, pages):
    names = {path.relative_to(built_site.folder).as_posix() for path in pages}
    labs = {lab.relative_to(ROOT).with_suffix(".html").as_posix() for lab in find_notebooks(ROOT)}
    documents = {Path(name).with_suffix(".html").as_posix() for name in DOCUMENTS if (ROOT / name).exists()}
    folders = {f"api/{'.'.join(path.parent.relative_to(ROOT).parts)}.html" for path in PACKAGED}
    assert names == {"index.html", "search.html"} | labs | documents | folders and len(folders) > 10
    start = page_of(pages, "site/index.html").links
    order = [
        start.index(name)
        for name in (
            "labs/01_dialogue_summarization.html",
            "labs/02_full_vs_lora_finetuning.html",
            "labs/extras/quantization.html",
            "docs/concepts.html",
            "api/helpers.html",
        )
    ]
    assert order == sorted(order), "labs, then extras, then documents, then the API"


def test_sphinx_has_nothing_to_complain_about(built_site):
    (note,) = built_site.notes
    assert note == f"{NOT_EXECUTED}: not executed; python kit.py run 3 does it"


def test_every_internal_link_leads_to_a_place_that_is_there(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in pages[target].ids):
                broken.append(f"{path.name}: {link}")
    assert broken == [] and sum(len(page.links) for page in pages.values()) > 500


@pytest.mark.parametrize("name", ["concepts", "glossary", "teaching"])
def test_a_link_to_a_section_of_a_lab_leads_to_that_section(built_site, pages, name):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    wanted = [
        (unquote(lab), slug(unquote(anchor)))
        for lab, anchor in re.findall(r"\]\(\.\./(labs/[^)]*)\.ipynb#([^)]*)\)", text)
    ]
    found = []
    for link in page_of(pages, f"docs/{name}.html").links:
        lab, _, anchor = unquote(link).removeprefix("../").partition(".html#")
        if lab.startswith("labs/") and anchor:
            heading = pages[built_site.folder / f"{lab}.html"].headings[anchor]
            found.append((lab, slug(heading.removesuffix("¶"))))
    assert len(wanted) > 10 and found == wanted


def test_no_page_fetches_anything_from_elsewhere(built_site, pages):
    assert [
        name for page in pages.values() for name in page.fetched if urlsplit(name).scheme or name.startswith("//")
    ] == []
    for path in [path for path in built_site.folder.rglob("*") if path.suffix in (".css", ".js")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//|import\s*\(|importScripts", text), path.name


def test_outputs_cannot_act(pages):
    lab, plain = page_of(pages, f"{ATTACKED}.html"), page_of(pages, "search.html")
    assert WORD in lab.text and lab.handlers == [] and "<svg onload" not in lab.text and "javascript:" not in lab.text
    assert lab.inline == page_of(pages, "glossary.html").inline, "scripts of the theme, and no other"
    for page in (lab, plain):
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page.text)
        scripts = policy.partition("script-src")[2].partition(";")[0].split()
        assert (
            policy.startswith("default-src 'none'")
            and "unsafe" not in "".join(scripts)
            and scripts[:2] == ["'self'", "file:"]
            and len(scripts) > 2
        )


def test_the_search_finds_words_of_prose_and_of_outputs(built_site):
    index = (built_site.folder / "searchindex.js").read_text(encoding="utf-8")
    assert [word for word in (WORD, "temperatur", "exemplar") if f'"{word}":' not in index] == []


def test_every_picture_has_an_alternative_text(pages):
    described = {path.name: [picture.get("alt") for picture in page.pictures] for path, page in pages.items()}
    assert [name for name, texts in described.items() for text in texts if not (text or "").strip()] == []
    assert not [text for texts in described.values() for text in texts if text.startswith("No description")]
    shown = described[f"{ATTACKED}.html"]
    assert shown[-2:] == [ALT, "Figure of section “Set-up”"] and len(described["results.html"]) > 5


def test_the_search_finds_every_public_function_and_class(built_site):
    text = (built_site.folder / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = {f"{module}.{entry[-1]}" for module, entries in index["objects"].items() for entry in entries}
    wanted = {
        ".".join([*path.relative_to(ROOT).with_suffix("").parts, node.name])
        for start in PACKAGED
        for path in start.parent.glob("*.py")
        if path != start
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert wanted - found == set() and len(wanted) > 300
    assert "helpers.data.prompts.fit_prompt" in wanted and "helpers.evaluation.claims.Claim.verdict" in found


def test_a_function_is_shown_with_its_signature_and_what_it_raises(pages):
    text = page_of(pages, "api/helpers.html").text
    shown = BeautifulSoup(text, "html.parser").find(id="helpers.display.table").parent
    assert " ".join(shown.dt.get_text().split()).startswith("helpers.display.table(header, rows, title=None) → HTML")
    assert [part.get_text() for part in shown.find_all("strong")] == ["Arguments:", "Raises:"]
    assert "ValueError: a row is longer or shorter than the header." in shown.get_text()


SOURCE = r'''"""Things: *A Title* of `code`, 5 < 6 and $x$, [0, 1] and {word}."""
import is_not_there
from helpers.other import Thing


class Kept(Thing):
    """What is kept.

        kept = Kept(1)

    Attributes:
        name: of it, as `helpers.other.Thing`
            has it.
    """

    name: str
    things: list[Thing] = []

    @classmethod
    def of(cls, text: str = "\n") -> Kept:
        ...

    @property
    def size(self) -> int:
        """Its size.

        Source: Nobody
            2020.
        """

    def _hidden(self): ...


class Other:
    def __init__(self, one, *rest, two: int = 2): ...


def _hidden(): ...
'''
PAGE = r"""# helpers

Labs import from `helpers`: {py:obj}`Kept <helpers.kept.Kept>`.

## helpers.kept

```{py:module} helpers.kept
```

Things: *A Title* of `code`, 5 \< 6 and \$x\$, \[0, 1\] and \{word\}.

`````{py:class} Kept(name: str, things: list[helpers.other.Thing] = [])

What is kept.

```python
kept = Kept(1)
```

**Attributes:**

- `name`: of it, as {py:obj}`helpers.other.Thing` has it.

````{py:method} of(text: str='\n') -> helpers.kept.Kept
:classmethod:

````

````{py:property} size
:type: int

Its size.

**Source:** Nobody 2020.

````

`````

`````{py:class} Other(one, *rest, two: int=2)

`````
"""


@pytest.fixture
def package(tmp_path):
    """A kit with one module, which cannot be imported."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").touch()
    (tmp_path / "helpers" / "__init__.pyi").write_text("from .kept import Kept as Kept\n", encoding="utf-8")
    (tmp_path / "helpers" / "kept.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_docstrings_become_pages_without_an_import(package):
    assert write_api(package, package) == ["api/helpers.md"]
    page = (package / "api" / "helpers.md").read_text(encoding="utf-8")
    assert page == PAGE


def test_what_such_a_page_says_is_what_the_docstring_says(package):
    write_api(package, package)
    (package / "source").mkdir()
    (package / "api" / "helpers.md").replace(package / "source" / "index.md")
    assert render(package / "source", package / "made") == []
    text = BeautifulSoup(
        (package / "made" / "index.html").read_text(encoding="utf-8"), "html.parser"
    ).article.get_text()
    assert "Things: A Title of code, 5 < 6 and $x$, [0, 1] and {word}." in text
    assert r"of(text: str = '\n')" in text and "hidden" not in text


def test_a_module_that_is_not_python_is_named(package):
    (package / "helpers" / "kept.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(ApiError, match=r"kept.py: is not Python \(.*\); correct it"):
        write_api(package, package)


@pytest.mark.parametrize("text", ["- minus", "1. first", "+1", "12) twelve", "a_b*c <b> `", "` *x", r"\n & ~"])
def test_words_stay_what_they_are(text):
    assert BeautifulSoup(MarkdownIt().render(words(text)), "html.parser").p.get_text() == text


def test_a_lab_says_where_its_results_come_from(pages):
    assert "Not executed yet" in page_of(pages, f"{NOT_EXECUTED}.html").text
    assert "Sliders stand where the run left them" in page_of(pages, f"{ATTACKED}.html").text


def test_formulas_are_drawn_without_scripts(tmp_path):
    (tmp_path / "source").mkdir()
    text = "# Title\nA ratio $r = \\frac{a}{b}$ and\n\n$$\\sum_i x_i$$\n\n$$\\left( y$$"
    (tmp_path / "source" / "index.md").write_text(text, encoding="utf-8")
    assert render(tmp_path / "source", tmp_path / "made") == []
    page = (tmp_path / "made" / "index.html").read_text(encoding="utf-8")
    assert page.count("<math") == 2 and "<mfrac>" in page and "<code>\\left( y</code>" in page
    assert not re.search(r"<script[^>]*mathjax", page, re.IGNORECASE)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[a](../labs/01_a.ipynb#8.-Choosing-it)", "[a](<../labs/01_a.ipynb#8-choosing-it>)"),
        ("[a](../labs/01_a.ipynb)", "[a](<../labs/01_a.ipynb>)"),
        ("[a](#A-title,-or-2)", "[a](<#a-title-or-2>)"),
        ("[a](../README.md#the-labs)", "[a](<../index.md#the-labs>)"),
        ("[`a`](other.md)", "[`a`](<other.md>)"),
        ("[a](https://example.org/x#Y)", "[a](https://example.org/x#Y)"),
        ("see [the code](../helpers/a.py)", "see the code"),
        ("[a](../..)", "a"),
        ("![a](lab1.png)", "![a](lab1.png)"),
        ("![a badge](https://example.org/b.svg)", "a badge"),
        (
            "`f[0](x)` and\n```python\nf[0](x)\n[a](../README.md)\n```\n",
            "`f[0](x)` and\n```python\nf[0](x)\n[a](../README.md)\n```\n",
        ),
    ],
)
def test_links_are_rewritten_for_the_site(text, expected):
    assert (
        relink(text, "docs/concepts.md", {"README.md", "docs/concepts.md", "docs/other.md", "labs/01_a.ipynb"})
        == expected
    )


@pytest.mark.parametrize(
    "heading, anchor",
    [
        ("8. Choosing the next token", "8.-Choosing-the-next-token"),
        ("2. From rows to prompt–completion pairs", "2.-From-rows-to-prompt–completion-pairs"),
        ("4. Do they agree?", "4.-Do-they-agree?"),
    ],
)
def test_jupyters_anchor_and_the_heading_give_one_slug(heading, anchor):
    assert slug(heading) == slug(anchor)


@pytest.fixture
def kit(tmp_path):
    """A kit with two executed labs; a cell of the first draws a picture, and says so by its tag."""
    (tmp_path / "labs" / "extras").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "README.md").write_text("# Kit\n[a](labs/01_first.ipynb#1.-One)\n", encoding="utf-8")
    results = []
    for name in ("labs/01_first.ipynb", "labs/extras/side.ipynb"):
        cells = [
            new_markdown_cell("# Lab"),
            new_markdown_cell("## Set-up"),
            new_code_cell(set_up_cell(Address("", "v1"), name), id="setup"),
            new_markdown_cell("## 1. One"),
            new_code_cell("plot()", id="plot", metadata={"tags": ["picture:first"]} if "first" in name else {}),
        ]
        nbformat.write(new_notebook(cells=cells, metadata=PYTHON), tmp_path / name)
        cells[-1].outputs = [new_output("display_data", {"image/png": PIXEL})]
        nbformat.write(new_notebook(cells=cells, metadata=PYTHON), tmp_path / "build" / Path(name).name)
        results.append({"name": Path(name).stem, "status": "finished", "profile": "pocket"})
    (tmp_path / "build" / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return tmp_path


def runs(kit):
    return read_all(find_notebooks(kit), kit / "build")


def change(path, do):
    notebook = nbformat.read(path, as_version=4)
    do(notebook.cells)
    nbformat.write(notebook, path)


def test_pictures_are_those_of_the_tagged_cells(kit):
    assert write_pictures(runs(kit), kit / "docs") == ["first.png"]
    assert (kit / "docs" / "first.png").read_bytes() == base64.b64decode(PIXEL)


def test_the_set_up_cell_may_differ(kit):
    """`kit.py publish` writes it anew, and on no computer but Colab's it does anything."""
    change(
        kit / "labs" / "01_first.ipynb",
        lambda cells: cells[2].update(source=set_up_cell(Address("learner/kit", "v2"), "labs/01_first.ipynb")),
    )
    assert [run.complaint for run in runs(kit)] == ["", ""]


@pytest.mark.parametrize(
    "lab, do, message",
    [
        (
            "labs/01_first.ipynb",
            lambda cells: cells[4].update(source="plot(2)"),
            "changed after it was executed; python kit.py run 1",
        ),
        (
            "build/01_first.ipynb",
            lambda cells: cells[4].update(outputs=[]),
            "01_first: the cell tagged picture:first drew nothing",
        ),
    ],
)
def test_a_picture_of_another_code_or_of_nothing_is_refused(kit, lab, do, message):
    change(kit / lab, do)
    with pytest.raises(ExecutedError, match=message):
        write_pictures(runs(kit), kit / "docs")
    assert not list((kit / "docs").iterdir())


@pytest.mark.parametrize(
    "fact, message",
    [
        ({"status": "cell 3 failed"}, "01_first: cell 3 failed; python kit.py run 1"),
        ({"profile": "base"}, "'base', and pictures show 'pocket'"),
        ({"size": "quick"}, "01_first: executed in quick size; python kit.py run 1 without LAB_SIZE"),
    ],
)
def test_a_picture_of_another_kind_of_run_is_refused(kit, fact, message):
    results = json.loads((kit / "build" / "results.json").read_text(encoding="utf-8"))
    (kit / "build" / "results.json").write_text(json.dumps([results[0] | fact]), encoding="utf-8")
    with pytest.raises(ExecutedError, match=message):
        write_pictures(runs(kit), kit / "docs")


def test_nothing_executed_names_the_commands(kit, capsys):
    assert site(kit, kit / "elsewhere", kit / "site") == 2
    assert (
        "holds no executed lab; python kit.py run executes" in capsys.readouterr().err and not (kit / "site").exists()
    )


def test_a_damaged_run_is_named_with_the_remedy(kit):
    (kit / "build" / "side.ipynb").write_text('{"cells": [', encoding="utf-8")
    with pytest.raises(
        ExecutedError, match=r"side.ipynb: is no notebook \(.*\); python kit.py run side writes it anew"
    ):
        read_executed(kit / "labs" / "extras" / "side.ipynb", kit / "build")


def test_a_folder_of_something_else_is_left_alone(kit):
    with pytest.raises(SiteError, match="holds something else than a site"):
        build_site(kit, kit / "build", kit / "docs" / "..")
    assert (kit / "README.md").exists()


def test_an_older_site_is_replaced_but_not_its_history(kit, capsys):
    (kit / "site" / ".git").mkdir(parents=True)
    (kit / "site" / "searchindex.js").touch()
    (kit / "site" / "gone.html").touch()
    assert site(kit, kit / "build", kit / "site", pictures=True) == 0
    said = capsys.readouterr()
    assert "first.png" in said.out and "index.html" in said.out and said.err == ""
    assert (
        (kit / "site" / ".git").exists()
        and (kit / "site" / "index.html").exists()
        and not (kit / "site" / "gone.html").exists()
    )


def test_documents_and_labs_show_the_pictures_that_labs_make_and_no_other():
    """And a picture of a lab in JupyterLab, which nobody's cell draws."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    texts += [cell.source for lab in find_notebooks(ROOT) for cell in nbformat.read(lab, as_version=4).cells]
    shown = {name for text in texts for name in re.findall(r"!\[[^\]]+\]\((?:\.\./)*(?:docs/)?([\w-]+)\.png\)", text)}
    made = {name for lab in find_notebooks(ROOT) for name in named(lab)}
    assert shown == made | {"lab-in-jupyterlab"} == {path.stem for path in (ROOT / "docs").glob("*.png")}
    assert {lab.stem[:2] for lab in find_notebooks(ROOT) if named(lab)} >= {"01", "02", "03"}


@pytest.mark.parametrize("picture", sorted(path.name for path in (ROOT / "docs").glob("*.png")))
def test_pictures_are_legible_on_a_dark_page_too(picture):
    pixels = matplotlib.image.imread(ROOT / "docs" / picture)
    assert pixels.shape[2] == 3 or pixels[..., 3].min() == 1, "transparent: dark letters would stand on a dark page"
    assert (pixels[0, :, :3] > 0.95).mean() > 0.9 and pixels.shape[1] > 600
