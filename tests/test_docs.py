"""The documents: links, commands, files, modules and names in them are there, versions agree; what troubleshooting
quotes, the kit does print.
"""

import ast
import importlib.util
import re
import shlex
import tomllib
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *GUIDES]
MADE_LATER = ("build", ".venv")  # there after a run, but not in the repository
FOLDERS = ("helpers", "sweeps", "cli", "pocket", "benchmarks")
# Named in the documents as something to be made: by a lab, by a reader, or by git.
NOT_YET = re.compile(r"labs/runs\b|pocket/scenarios/mine\.txt$")
OLD = {"CHANGELOG.md"}  # a changelog names what is no longer there


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
    wanted = {"concepts", "glossary", "troubleshooting", "teaching", "results", "structure", "dependencies"}
    assert {f"docs/{name}.md" for name in wanted} <= set(GUIDES)
    targets = link_targets((ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(GUIDES) <= {target.partition("#")[0] for target in targets}


def test_the_readme_is_short_and_leads_to_every_lab():
    text = (ROOT / "README.md").read_bytes()
    assert len(text) <= 8192
    labs = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "labs").rglob("[!.]*.ipynb") if "runs" not in path.parts
    }
    assert {target for target in link_targets(text.decode()) if target.endswith(".ipynb")} == labs


def test_the_readme_and_the_results_show_every_picture():
    shown = {(ROOT / target).name for target in link_targets((ROOT / "README.md").read_text(encoding="utf-8"))}
    shown |= set(link_targets((ROOT / "docs" / "results.md").read_text(encoding="utf-8")))
    assert {path.name for path in (ROOT / "docs").glob("*.png")} <= shown


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_are_short(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


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


def modules():
    """{folder: names of its modules} of the kit, folders as "helpers/data"."""
    found = defaultdict(set)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "__init__.py":
                found[path.parent.relative_to(ROOT).as_posix()].add(path.name)
    return found


def listed_modules(text):
    """The same, as docs/structure.md lists them: a heading for each folder, below it tables of modules."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {
        folder.strip(): {name for row in table_rows(part) for name in re.findall(r"`([\w.]+)`", row[0])}
        for folder, part in zip(parts[::2], parts[1::2])
    }


def test_every_module_is_listed_in_its_folder_and_no_other():
    assert listed_modules((ROOT / "docs" / "structure.md").read_text(encoding="utf-8")) == modules()


def test_every_package_has_its_reason():
    rows = table_rows((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"))
    given = [name.split()[0] for row in rows for name in row[0].split(",")]
    listed = [ROOT / name for name in ("requirements.txt", "requirements-models.txt")]
    lines = [line for path in listed for line in path.read_text(encoding="utf-8").splitlines()]
    needed = [re.match(r"[\w.-]+", line)[0] for line in lines if re.match(r"\w", line)]
    assert sorted(given) == sorted(needed)


def code_lines(text):
    """Lines of code in a document: of fenced blocks and between backticks."""
    blocks = re.findall(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    rest = re.sub(r"^[ \t]*```.*?^[ \t]*```", "", text, flags=re.MULTILINE | re.DOTALL)
    return lines + [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", rest)]


def words_after(start, text):
    """The words of each command that begins with `start`, comments left out."""
    commands = [line[place.end() :] for line in code_lines(text) for place in [re.search(start, line)] if place]
    return [shlex.split(command.replace("…", ""), comments=True) for command in commands]


@pytest.fixture(scope="module")
def kit():
    """kit.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location("kit", ROOT / "kit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong_commands(text, kit):
    """Commands of a document that kit.py would refuse, modules that cannot be run, test files that are not there."""
    wrong = []
    for words in words_after(r"(?<!\S)(?:python[\d.]*|py(?: -[\d.]+)?) kit\.py ", text):
        try:
            options = kit.parse(words)
            kit.choose_labs(getattr(options, "labs", []) or [], kit.find_labs(ROOT))
        except (SystemExit, kit.KitError):
            wrong.append(f"kit.py {' '.join(words)}")
        if words[0] == "test":
            wrong += [word for word in words[1:] if word.startswith("tests") and not (ROOT / word).exists()]
    for module, *_ in words_after(r"(?<!\S)(?:\S*/)?python -m ", text):
        top, file = module.partition(".")[0], ROOT / f"{module.replace('.', '/')}.py"
        if top in FOLDERS:
            if not file.exists() or "__main__" not in file.read_text(encoding="utf-8"):
                wrong.append(f"-m {module}")
        elif importlib.util.find_spec(top) is None:
            wrong.append(f"-m {module}")
    return wrong


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_can_be_run(name, kit):
    assert wrong_commands((ROOT / name).read_text(encoding="utf-8"), kit) == []


def test_the_documents_name_commands(kit):
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    assert len(words_after(r"python kit\.py ", texts["README.md"])) > 5
    assert len(words_after(r"python -m ", texts["docs/teaching.md"])) > 5


@pytest.mark.parametrize(
    "code",
    [
        "python kit.py rnu 1",
        "python kit.py run 77",
        "python3 kit.py run 1 --profil pocket --fast",
        "python kit.py test tests/nowhere.py",
        "python -m helpers.inspection my.csv",
        ".venv/bin/python -m helpers.data.splits",
        "LAB_PROFILE=pocket .venv/bin/python -m no_such_package labs",
    ],
)
def test_wrong_commands_are_found(kit, code):
    assert len(wrong_commands(f"Call `{code}` now.", kit)) == 1
    assert len(wrong_commands(f"Call\n```\npython kit.py doctor\n{code}    # this\n```\n", kit)) == 1


def names_of(file):
    """Names that a Python file defines at its top, or that the file of stubs beside it does."""
    found = set()
    for path in (file, file.with_suffix(".pyi")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else ():
            if isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign):
                found |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def is_name(dotted):
    """Whether "helpers.data.splits" or "helpers.evaluation.metrics.rouge" is a folder, a module or a name in one."""
    place, steps = ROOT, dotted.split(".")
    while steps and (place / steps[0]).is_dir():
        place /= steps.pop(0)
    file = place / "__init__.py"
    if steps and (place / f"{steps[0]}.py").exists():
        file = place / f"{steps.pop(0)}.py"
    return not steps or (len(steps) == 1 and steps[0] in names_of(file))


def missing_names(text):
    """Files, modules and names of the kit that a document has between backticks or in Python code, and that are not
    there.
    """
    lines = code_lines(text)
    tops = "|".join((*FOLDERS, "labs", "docs", "tests"))
    files = {
        word.rstrip("/.")
        for line in lines
        for word in re.findall(rf"(?<![\w./-])(?:{tops})/[\w./-]*", line.split("#")[0])
    }
    dotted = {
        word for line in lines for word in re.findall(rf"(?<![\w./])(?:{'|'.join(FOLDERS)})(?:\.[a-z_]\w*)+", line)
    }
    dotted = {word for word in dotted if not word.endswith((".py", ".md", ".json"))}
    for line in lines:
        if found := re.match(rf"from ((?:{'|'.join(FOLDERS)})[\w.]*) import ([\w, ]+)", line):
            dotted |= {f"{found[1]}.{name.strip()}" for name in found[2].split(",")}
    lost = [name for name in files if not NOT_YET.match(name) and not is_there(ROOT / name, ROOT)]
    return sorted(lost + [name for name in dotted if not is_name(name)])


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in OLD])
def test_files_modules_and_names_are_there(name):
    assert missing_names((ROOT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "`helpers/inspection.py`",
        "`helpers.metrics.rouge`",
        "`python -m sweeps.nothing`",
        "`sweeps/results/nothing`",
        "```python\nfrom helpers.exercises import CHECKS, solves  # helpers.exercises\n```",
        "`helpers.evaluation.metrics.rogue`",
    ],
)
def test_missing_names_are_found(code):
    assert len(missing_names(f"See\n{code}\n")) == 1
    assert (
        missing_names("See `helpers/settings.py`, `helpers.evaluation.metrics.rouge`, `helpers.exercises.solves`") == []
    )


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    latest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert citation["version"] == latest == project["project"]["version"]
    assert citation["title"] == project["project"]["name"] and citation["license"] == project["project"]["license"]
    assert project["tool"]["kit"]["tag"] == f"v{latest}"


def test_ruff_is_the_same_everywhere():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    (revision,) = [place["rev"] for place in hooks if place["repo"].endswith("/ruff-pre-commit")]
    told = re.search(r'"ruff==(\d+\.\d+)\.\*"', (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[1]
    assert revision.startswith(f"v{told}.")


def test_both_forms_ask_for_the_doctor():
    for name in ("bug", "question"):
        form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
        doctor = next(part for part in form["body"] if part.get("id") == "doctor")
        assert "python kit.py doctor" in doctor["attributes"]["label"]
        assert doctor.get("validations", {}).get("required", False) == (name == "bug")


def kit_texts():
    """Every text in the kit's own source, f-strings in pieces; adjacent literals are one."""
    files = [ROOT / "kit.py", *sorted((ROOT / "helpers").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
    files += sorted((ROOT / "sweeps").glob("*.py"))
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
