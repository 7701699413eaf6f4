"""The labs' form: order of headings, short cells, prose before code, checkpoints, exercises that can be solved."""

import re
import statistics
from itertools import pairwise, takewhile
from pathlib import Path

import nbformat
import pytest

from helpers.exercises import solves
from helpers.run_records import RUNS

ROOT = Path(__file__).resolve().parent.parent
LABS = sorted((ROOT / "labs").glob("**/*.ipynb"))
LABS = [path for path in LABS if ".ipynb_checkpoints" not in path.parts]
FIRST = ["What you will be able to do", "Set-up"]
LAST = ["Summary", "Exercises", "References", "Time and memory"]
CALL = re.compile(r'check_exercise\("(\w+)", (\w+)\)')
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)

in_every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)


def cells_of(lab):
    return nbformat.read(lab, as_version=4).cells


def headings(cell):
    """(level, text) of each heading of a cell; code within the prose has none."""
    prose = (
        re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE) if cell.cell_type == "markdown" else ""
    )
    return [(len(marks), text.strip()) for marks, text in re.findall(r"^(#{1,6}) (.+)$", prose, re.MULTILINE)]


def exercises(lab):
    """(index of the check's cell, name of the exercise, name of the function) of each exercise."""
    return [
        (index, *match)
        for index, cell in enumerate(cells_of(lab))
        if cell.cell_type == "code"
        for match in CALL.findall(cell.source)
    ]


def neighbour(cells, index, kind, step):
    """The nearest cell of a kind before (step -1) or after (1) another, and its index."""
    while cells[index := index + step].cell_type != kind:
        pass
    return cells[index], index


def defined(source):
    """The names that a piece of code defines."""
    names = {}
    exec(compile(source, "exercise", "exec"), names)
    return names


def test_there_are_labs():
    assert LABS


@in_every_lab
def test_trainings_are_kept_in_one_folder_wherever_the_lab_was_started(lab):
    assert RUNS == ROOT / "labs" / "runs"
    assert not [
        cell.source
        for cell in cells_of(lab)
        if cell.cell_type == "code" and re.search(r"""["'](\./)?runs\b""", cell.source)
    ]


@in_every_lab
def test_the_notebook_is_valid_and_cleared(lab):
    notebook = nbformat.read(lab, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "widgets" not in notebook.metadata


@in_every_lab
def test_the_title_comes_first_and_opens_in_colab(lab):
    title = cells_of(lab)[0]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert re.search(r"\[.*Open in Colab.*\]\(https://colab\.research\.google\.com/", title.source)
    assert sum(level == 1 for cell in cells_of(lab) for level, _ in headings(cell)) == 1


@in_every_lab
def test_the_sections_have_the_fixed_order(lab):
    sections = [text for cell in cells_of(lab) for level, text in headings(cell) if level == 2]
    numbered = sections[len(FIRST) : -len(LAST)]
    assert sections[: len(FIRST)] == FIRST and sections[-len(LAST) :] == LAST and numbered
    assert [text.split(" ")[0] for text in numbered] == [f"{number}." for number in range(1, len(numbered) + 1)]


@in_every_lab
def test_code_cells_are_short(lab):
    lengths = [len(cell.source.splitlines()) for cell in cells_of(lab) if cell.cell_type == "code"]
    assert statistics.median(lengths) <= 8 and max(lengths) <= 25 and min(lengths) >= 1


@in_every_lab
def test_lines_have_at_most_120_characters(lab):
    """Tables and pictures have a line each, however long; ruff looks at code."""
    prose = [line for cell in cells_of(lab) if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert [line for line in prose if len(line) > 120 and not line.startswith(("|", "!["))] == []


@in_every_lab
def test_a_table_has_a_line_for_each_row(lab):
    for cell in cells_of(lab):
        lines = [re.sub(r"`[^`]*`|\\\|", "", line) for line in cell.source.splitlines()]
        for place, line in enumerate(lines):
            if cell.cell_type == "markdown" and re.search(r"\|\s*:?-{3,}:?\s*\|", line):
                rows = [lines[place - 1], *takewhile(str.strip, lines[place:])]
                assert {row.count("|") for row in rows} == {line.count("|")} and not set(line) - set("|:- "), rows


@in_every_lab
def test_prose_stands_before_every_code_cell(lab):
    kinds = [cell.cell_type for cell in cells_of(lab)]
    assert [place for place, pair in enumerate(pairwise(kinds)) if pair == ("code", "code")] == []
    assert all(cell.source.strip() for cell in cells_of(lab)) and set(kinds) == {"markdown", "code"}


@in_every_lab
def test_code_is_python(lab):
    for cell in cells_of(lab):
        if cell.cell_type == "code":
            compile(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.MULTILINE), lab.name, "exec")


@in_every_lab
def test_claims_stand_under_a_heading_checkpoint(lab):
    latest, found = "", 0
    for cell in cells_of(lab):
        latest = ([text for _, text in headings(cell)] or [latest])[-1]
        if cell.cell_type == "code" and re.search(r"\bcheckpoint\(", cell.source):
            assert latest == "Checkpoint", cell.source
            found += 1
    assert found


@in_every_lab
def test_there_are_five_exercises_with_difficulty_and_minutes(lab):
    cells, found = cells_of(lab), exercises(lab)
    assert len(found) >= 5 and len({name for _, name, _ in found}) == len(found)
    for index, name, _ in found:
        _, stub = neighbour(cells, index, "code", -1)
        text = cells[stub - 1].source
        assert re.search(r"^### Exercise \d+", text, re.MULTILINE), name
        assert re.search(r"Difficulty: *[●○]{3}", text) and re.search(r"\b\d+ minutes\b", text), name


@in_every_lab
def test_every_check_accepts_its_solution_and_rejects_its_stub(lab):
    cells = cells_of(lab)
    for index, name, function in exercises(lab):
        stub, _ = neighbour(cells, index, "code", -1)
        solution = SOLUTION.search(cells[index + 1].source)
        assert cells[index + 1].cell_type == "markdown" and solution, f"{name}: no folded solution below the check"
        assert solves(name, defined(solution[1])[function]) == (True, "solved"), name
        solved, hint = solves(name, defined(stub.source)[function])
        assert not solved and len(hint) > 20, name
