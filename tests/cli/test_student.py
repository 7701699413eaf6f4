"""Handing out: no solution and no output is left, checks are, everything needed lies beside, nobody's work is
overwritten.
"""

import ast
import re
import shutil
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cli import student as handout
from cli.student import ANSWER, HandoutError, contents, find_notebooks, hand_out, without_answers, write_handout
from tests.test_docs import broken_links

ROOT = Path(__file__).resolve().parents[2]
LABS = find_notebooks(ROOT)
SOLUTION = (
    "<details><summary>Solution</summary>\n\n```python\ndef twice(x):\n    return 2 * x  # the secret\n```\n</details>"
)
FAULT = "<details><summary>What is wrong</summary>\n\nThe secret is the padding.\n</details>"


@pytest.fixture(scope="module")
def given_out(tmp_path_factory):
    """The kit as students get it."""
    folder = tmp_path_factory.mktemp("course") / "student"
    write_handout(ROOT, folder)
    return folder


def lab(*texts):
    """A lab with a badge, an exercise, and the given Markdown cells below it."""
    title = new_markdown_cell(
        "# Lab\n\n[Open in Colab](https://colab.research.google.com/github/a/b/blob/v1/labs/01_lab.ipynb)\n\nWelcome"
    )
    stub = new_code_cell("def twice(x):\n    ...", outputs=[new_output("stream", text="the secret")], execution_count=3)
    check = new_code_cell('check_exercise("twice", twice)')
    return new_notebook(cells=[title, stub, check, *map(new_markdown_cell, texts)])


def code_of(text):
    """Lines of a solution that are no `def` and no import, blanks aside; the labs' own cells may hold those."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if len(line) > 12 and not re.match(r"(def|import|from|for|while|if|else)\b", line)]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_no_solution_text_is_left_in_a_lab(path, given_out):
    original = nbformat.read(path, as_version=4)
    student = nbformat.read(given_out / path.relative_to(ROOT), as_version=4)
    everything = "\n".join(cell.source for cell in student.cells)
    assert "<details" not in everything and "<summary" not in everything
    blocks = [
        match for cell in original.cells if cell.cell_type == "markdown" for match in ANSWER.finditer(cell.source)
    ]
    assert len(blocks) >= 5
    for block in blocks:
        assert block[0] not in everything
        for line in code_of(block[0]):
            kept = "\n".join(ANSWER.sub("", cell.source) for cell in original.cells)
            assert everything.count(line) == kept.count(line), line
        sentences = re.split(
            r"(?<=[.?!:])\s+",
            re.sub(r"```.*?```|<[^>]*>", "", block[0], flags=re.DOTALL).replace("What is wrong", "").strip(),
        )
        assert [sentence for sentence in sentences if len(sentence) > 20 and sentence in everything] == []


def test_no_file_of_the_handout_holds_a_solution(given_out):
    blocks = [
        block[0]
        for path in LABS
        for cell in nbformat.read(path, as_version=4).cells
        for block in ANSWER.finditer(cell.source)
        if block[1] == "Solution"
    ]
    codes = [code.strip() for block in blocks for code in re.findall(r"```python\n(.*?)```", block, re.DOTALL)]
    solutions = [code for code in codes if "def " in code]  # those of experiments are calls of the lab's own functions
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in given_out.rglob("*")
        if path.suffix in (".py", ".md", ".txt", ".toml", ".yml")
    }
    assert len(solutions) >= 5 * len(LABS) and len(texts) > 40
    bodies = [solution.partition("def ")[2].partition("\n")[2] for solution in solutions]
    assert [(path.name, body) for path, text in texts.items() for body in bodies if body in text] == []


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_the_labs_stay_valid_cleared_and_in_order_with_their_checks(path, given_out):
    original = nbformat.read(path, as_version=4)
    student = nbformat.read(given_out / path.relative_to(ROOT), as_version=4)
    nbformat.validate(student)
    assert [cell.source for cell in student.cells if cell.cell_type == "code"] == [
        cell.source for cell in original.cells if cell.cell_type == "code"
    ]
    assert all(
        cell.outputs == [] and cell.execution_count is None for cell in student.cells if cell.cell_type == "code"
    )
    assert all(cell.source.strip() for cell in student.cells)
    kinds = [cell.cell_type for cell in student.cells]
    assert ("code", "code") not in list(pairwise(kinds))
    headings = [
        re.findall(
            r"^#+ .*$", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"), re.MULTILINE
        )
        for notebook in (original, student)
    ]
    assert headings[0] == headings[1]


def test_the_handout_is_a_kit_of_its_own(given_out):
    names = {path.relative_to(given_out).as_posix() for path in given_out.rglob("*") if path.is_file()}
    assert {
        "kit.py",
        "requirements.txt",
        "constraints.txt",
        "helpers/__init__.py",
        "pocket/model/model.safetensors",
        "sweeps/results/ppo/base.json",
    } <= names
    assert not [
        name
        for name in names
        if re.match(r"tests|benchmarks|\.venv|build|labs/runs", name) or "__pycache__" in name or "partial" in name
    ]
    imported = {
        node.module
        for name in names
        if name.endswith(".py")
        for node in ast.walk(ast.parse((given_out / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] in ("helpers", "pocket", "tests", "benchmarks")
    }
    assert [
        module
        for module in imported
        if f"{module.replace('.', '/')}.py" not in names and f"{module.replace('.', '/')}/__init__.py" not in names
    ] == []


def test_links_of_the_handout_lead_to_what_is_in_it(given_out):
    documents = [given_out / "README.md", *sorted((given_out / "docs").glob("*.md"))]
    assert {
        document.name: broken_links(document, given_out) for document in documents if broken_links(document, given_out)
    } == {}


def test_outputs_solutions_answers_and_the_address_go():
    notebook = lab(SOLUTION, f"Look:\n\n{FAULT}", "## Next")
    notebook.metadata.widgets = {"state": 1}
    assert without_answers(notebook, "01_lab.ipynb") == 2
    sources = [cell.source for cell in notebook.cells]
    assert sources[1:] == [
        "def twice(x):\n    ...",
        'check_exercise("twice", twice)',
        f"Look:\n\n{handout.YOUR_ANSWER}",
        "## Next",
    ]
    assert "secret" not in str(notebook) and "widgets" not in notebook.metadata
    assert "github/a/b" not in sources[0] and sources[0].endswith("Welcome") and "Open in Colab" in sources[0]


@pytest.mark.parametrize(
    "text",
    [
        SOLUTION.removesuffix("</details>"),
        SOLUTION.replace("Solution", "Hint"),
        SOLUTION.replace("<details>", "<details open>"),
        f"<details><summary>Solution</summary>{SOLUTION}</details>",
    ],
)
def test_a_block_that_would_stay_is_an_error(text):
    with pytest.raises(HandoutError, match="01_lab.ipynb, cell .*: a folded block"):
        without_answers(lab(text), "01_lab.ipynb")


@pytest.fixture
def small_kit(tmp_path, monkeypatch):
    """A kit of one lab and one helper."""
    monkeypatch.setattr(handout, "BESIDE", ("kit.py", "helpers"))
    root = tmp_path / "kit"
    (root / "labs").mkdir(parents=True)
    (root / "helpers" / "__pycache__").mkdir(parents=True)
    (root / "helpers" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (root / "helpers" / "a.py").write_text("", encoding="utf-8")
    (root / "kit.py").write_text("pass\n", encoding="utf-8")
    nbformat.write(lab(SOLUTION), root / "labs" / "01_lab.ipynb")
    return root


def test_a_students_work_is_never_overwritten(small_kit, tmp_path, capsys):
    target = tmp_path / "student"
    assert hand_out(small_kit, target) == 0
    assert "3 files written; 1 solutions and answers were left out of 01_lab" in capsys.readouterr().out
    assert hand_out(small_kit, target) == 0 and "0 files written" in capsys.readouterr().out
    work = target / "labs" / "01_lab.ipynb"
    work.write_text("my answers", encoding="utf-8")
    (target / "kit.py").unlink()
    assert hand_out(small_kit, target) == 2
    message = capsys.readouterr().err
    assert (
        "other versions of 1 files, perhaps somebody's work: labs/01_lab.ipynb; nothing was written" in message
        and "new folder" in message
    )
    assert work.read_text(encoding="utf-8") == "my answers" and not (target / "kit.py").exists(), (
        "something was written all the same"
    )


def test_a_folder_in_the_place_of_a_file_is_in_the_way_too(small_kit, tmp_path):
    (tmp_path / "student" / "kit.py").mkdir(parents=True)
    with pytest.raises(HandoutError, match="kit.py; nothing was written"):
        write_handout(small_kit, tmp_path / "student")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert hand_out(small_kit, tmp_path / "file") == 2


@pytest.mark.parametrize("inside", ["labs", "labs/student", "helpers/x"])
def test_a_handout_does_not_go_where_it_would_be_handed_out_itself(small_kit, inside):
    with pytest.raises(HandoutError, match="lies inside what is handed out"):
        write_handout(small_kit, small_kit / inside)


def test_a_broken_notebook_and_a_missing_one_are_named(small_kit):
    (small_kit / "labs" / "02_bad.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(HandoutError, match=r"02_bad.ipynb: is no notebook"):
        contents(small_kit)
    shutil.rmtree(small_kit / "labs")
    with pytest.raises(HandoutError, match="holds no notebook"):
        contents(small_kit)
