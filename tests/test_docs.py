"""The documents: links lead to files and headings that are there; what troubleshooting quotes, the kit does print."""

import ast
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
MADE_LATER = ("build", ".venv")  # there after a run, but not in the repository


def without_code(text):
    """Markdown without fenced blocks."""
    return re.sub(r"^(`{3,}|~{3,}).*?^\1[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)


def link_targets(text):
    """Targets of links and pictures, in Markdown (inline and by reference) and in HTML."""
    text = re.sub(r"`[^`\n]*`", "`code`", without_code(text))
    found = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)", text)
    found += re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    return found + re.findall(r"(?:src|href)=[\"']([^\"']+)", text)


def headings(text):
    """The text of each heading, without marks for emphasis, code and links."""
    found = re.findall(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", without_code(text), re.MULTILINE)
    return [re.sub(r"[*`]|(?<!\w)_|_(?!\w)", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in found]


@lru_cache
def anchors(path):
    """Jupyter turns spaces into hyphens, and that is all; GitHub, in Markdown, also lowers and drops punctuation."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return {heading.replace(" ", "-") for heading in headings(prose)}
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings(path.read_text(encoding="utf-8"))
    }


def is_there(path, root):
    """Whether the path exists inside `root`, spelled like this: some file systems do not care about upper case."""
    if root not in path.parents or path.relative_to(root).parts[0] in MADE_LATER:
        return path == root
    return path.exists() and all(
        step.name in {entry.name for entry in step.parent.iterdir()}
        for step in (path, *path.parents)
        if root in step.parents
    )


def broken_links(document, root=ROOT):
    """Relative links of a document that lead nowhere, each with the reason."""
    broken = []
    for target in link_targets(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
            continue  # another site
        place, _, anchor = unquote(target).partition("#")
        path = (document.parent / place).resolve() if place else document
        if not is_there(path, root):
            broken.append(f"{target}: no such file in the repository")
        elif anchor and anchor not in anchors(path):
            broken.append(f"{target}: {path.name} has no such heading")
    return broken


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_resolves(name):
    assert broken_links(ROOT / name) == []


def test_the_documents_are_there_and_the_readme_leads_to_them():
    wanted = {f"docs/{name}.md" for name in ("concepts", "glossary", "troubleshooting", "teaching")}
    assert wanted <= set(DOCUMENTS)
    targets = link_targets((ROOT / "README.md").read_text(encoding="utf-8"))
    assert wanted <= {target.partition("#")[0] for target in targets}


def test_the_readme_names_every_helper():
    tree = re.search(
        r"^kit\.py .*?(?=^```)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )[0]
    named = set(re.findall(r"[\w…]+\.py", tree))
    missing = [
        path.name
        for path in (ROOT / "helpers").glob("[!_]*.py")
        if path.name not in named and f"…_{path.name.partition('_')[2]}" not in named
    ]
    assert missing == []
    assert [
        name
        for name in named
        if "…" not in name and not list(ROOT.glob(name)) and not list(ROOT.glob(f"helpers/{name}"))
    ] == []


def table_rows(text):
    """The cells of each table row, heads and rules left out."""
    lines = text.splitlines()
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line, before in zip(lines[1:], lines)
        if line.startswith("|") and before.startswith("|") and not re.fullmatch(r"[|:\- ]+", line)
    ]


def test_every_concept_has_a_section():
    rows = table_rows((ROOT / "docs" / "concepts.md").read_text(encoding="utf-8"))
    assert len(rows) > 40
    assert [row for row in rows if len(row) != 3 or not all(row)] == []
    assert [row for row in rows if not link_targets(row[2])] == []


def test_every_term_of_the_glossary_is_explained_briefly_and_met_where_it_says():
    rows = table_rows((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    terms = [row[0] for row in rows]
    assert len(terms) > 60 and terms == sorted(set(terms), key=str.lower)
    assert [row for row in rows if len(row) != 3] == []
    sentences = {term: re.split(r"(?<=[.?!])\s+(?=[A-Z])", meaning) for term, meaning, _ in rows}
    assert [
        term
        for term, found in sentences.items()
        if not 1 <= len(found) <= 2 or not all(sentence.endswith(".") for sentence in found)
    ] == []
    assert [term for term, meaning, _ in rows if not 5 <= len(meaning.split()) <= 40] == []
    for term, _, where in rows:
        targets = [unquote(target) for target in link_targets(where)]
        assert targets and all(re.search(r"^\.\./labs/.*\.ipynb#\d+\.-", target) for target in targets), term
        for target in targets:
            section, lab = (re.sub(r"\s+", " ", text).lower() for text in section_of(target))
            stems = [re.sub(r"(ping|ing|ence|d|e)$", "", word) for word in term.lower().split()]
            assert all(stem in section for stem in stems) or term.lower() in lab, f"{term}: not a word of {target}"


def section_of(target):
    """(the numbered section that a link from docs/ leads to, its code included; the whole lab)."""
    place, _, anchor = target.partition("#")
    lab = "\n\n".join(cell.source for cell in nbformat.read((ROOT / "docs" / place).resolve(), as_version=4).cells)
    parts = re.split(r"^## ", lab, flags=re.MULTILINE)
    return next(part for part in parts if part.partition("\n")[0].replace(" ", "-") == anchor), lab


@pytest.mark.parametrize("lab", sorted(path.name for path in (ROOT / "labs").glob("[0-9][0-9]_*.ipynb")))
def test_every_numbered_section_of_a_lab_is_a_concept(lab):
    targets = map(unquote, link_targets((ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")))
    linked = {target.partition("#")[2] for target in targets if lab in target}
    assert {anchor for anchor in anchors(ROOT / "labs" / lab) if re.match(r"\d+\.-", anchor)} <= linked


def kit_texts():
    """Every text in the kit's own source, f-strings in pieces; adjacent literals are one."""
    files = [ROOT / "kit.py", *sorted((ROOT / "helpers").glob("*.py"))]
    return [
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_quoted_messages_are_those_the_kit_prints():
    known = kit_texts()
    rows = table_rows((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row[0])]
    pieces = [piece.strip() for message in quoted for piece in message.split("…") if piece.strip()]
    assert len(pieces) > 20
    assert [piece for piece in pieces if not any(piece in text for text in known)] == []


@pytest.fixture
def project(tmp_path):
    """A notebook with two headings and a picture's folder, for documents with good and bad links."""
    prose = "# Lab\n```\n# a comment\n```\n## 2. The *loop* by `hand`"
    cells = [new_markdown_cell(prose), new_code_cell("# not a heading")]
    (tmp_path / "labs").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "labs" / "01_lab.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    "target",
    [
        "labs/01_lab.ipynb",
        "labs/01_lab.ipynb#Lab",
        "labs/01_lab.ipynb#2.-The-loop-by-hand",
        "labs",
        "#a-title-or-2",
        "https://example.org/nowhere",
    ],
)
def test_good_links_are_accepted(project, target):
    code = "`[not](a-link)`\n```\n[nor](this)\n```"
    (project / "page.md").write_text(f"# A title, or 2\nsee [this]({target}) and {code}\n", encoding="utf-8")
    assert broken_links(project / "page.md", project) == []


@pytest.mark.parametrize(
    "link",
    [
        "[a](labs/02_lab.ipynb)",
        "[a](Labs/01_lab.ipynb)",
        "[a](labs/01_lab.ipynb#2.-the-loop-by-hand)",
        "[a](../page.md)",
        "[a](labs/01_lab.ipynb#a-comment)",
        "[a](labs/01_lab.ipynb#not-a-heading)",
        '![a](picture.png "title")',
        "[a]: nowhere.md",
        '<img src="nowhere.png">',
        "[a](#no-title)",
        "[a](build/index.html)",
    ],
)
def test_bad_links_are_found(project, link):
    (project / "build").mkdir()
    (project / "build" / "index.html").touch()
    (project / "page.md").write_text(f"# A title\n{link}\n", encoding="utf-8")
    assert len(broken_links(project / "page.md", project)) == 1
