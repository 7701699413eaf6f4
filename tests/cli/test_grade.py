"""Grading: solved and unsolved exercises, everything that can be wrong with a notebook, and what no function may do."""

import csv
import shutil
from pathlib import Path

import nbformat
import pytest

from cli.grade import (
    GradingError,
    Lab,
    Sheet,
    Worker,
    answers_of,
    definitions,
    grade_folder,
    handed_in,
    labs_of,
    tasks_of,
    write_scores,
)
from helpers.exercises import RECORD_MIME

ROOT = Path(__file__).parents[2]
FITS = """def exemplars_that_fit(lengths, budget):
    first = 0
    while sum(lengths[first:]) > budget:
        first += 1
    return list(range(first, len(lengths)))"""
HOSTILE = {
    "hangs": "def exemplars_that_fit(lengths, budget):\n    while True: pass",
    "raises": "def exemplars_that_fit(lengths, budget):\n    return 1 / 0",
    "leaves": "import sys\ndef exemplars_that_fit(lengths, budget):\n    sys.exit(0)",
    "kills itself": "import os\ndef exemplars_that_fit(lengths, budget):\n    os._exit(0)",
    "calls the network": "import urllib.request\ndef exemplars_that_fit(lengths, budget):\n"
    "    return urllib.request.urlopen('http://127.0.0.1:9/').read()",
    "starts a program": "import subprocess\ndef exemplars_that_fit(lengths, budget):\n    subprocess.run(['true'])",
    "writes a file": "def exemplars_that_fit(lengths, budget):\n    open('PLACE', 'w').write('x')",
    "takes all memory": "def exemplars_that_fit(lengths, budget):\n    return bytearray(40 * 2**30)",
    "prints": "import os, sys\ndef exemplars_that_fit(lengths, budget):\n    print('ready')\n"
    "    sys.__stdout__.write('{}')\n    os.write(1, b'{}')\n" + FITS.split("\n", 1)[1],
}


def notebook(*cells):
    """A notebook of sources: those that begin with # are prose."""
    make = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[make[text.startswith("#")](text) for text in cells])


def hand_in(folder, name, source, exercise="exemplars_that_fit"):
    folder.mkdir(parents=True, exist_ok=True)
    cells = notebook("# Exercises", source, f'check_exercise("{exercise}", {exercise})')
    nbformat.write(cells, folder / f"{name}.ipynb")


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_the_labs_and_their_exercises_are_found():
    labs = {lab.name: lab for lab in labs_of(ROOT)}
    assert "exemplars_that_fit" in labs["01_dialogue_summarization"].exercises
    assert all(len(lab.exercises) >= 5 for lab in labs.values())


def test_only_imports_definitions_and_constants_are_taken():
    source = "import math\nSIZE = 3\n%pip install x\nprint('no')\nmodel = load()\ndef f(x):\n    return x\nf(2)\n"
    source += "class A: pass"
    assert definitions(source) == "import math\nSIZE = 3\ndef f(x):\n    return x\nclass A:\n    pass"
    with pytest.raises(SyntaxError):
        definitions("def f(:")


def test_a_task_holds_what_stands_before_its_check():
    found = list(tasks_of(notebook("import math", "def f(x): return x", 'check_exercise("f", f)', "y = 1")))
    assert [(task["name"], task["function"]) for task in found] == [("f", "f")]
    assert "import math" in found[0]["source"] and "y = 1" not in found[0]["source"]
    assert list(tasks_of(notebook("def f(:", 'check_exercise("f", f)'))) == [
        {"name": "f", "fault": "its cell is no Python"}
    ]


def test_a_record_is_read_from_the_output_of_its_check():
    handed = notebook("x = 1", 'check_experiment("choice", choice)')
    handed.cells[1].outputs = [nbformat.v4.new_output("display_data", {RECORD_MIME: {"chosen": "a"}, "text/plain": ""})]
    assert list(tasks_of(handed)) == [{"name": "choice", "record": {"chosen": "a"}}]
    handed.cells[1].outputs = []
    assert list(tasks_of(handed)) == [{"name": "choice", "fault": "was not run"}]


def test_answers_in_words_are_counted_each_for_its_own_question():
    answered, open_ = (
        "### Question 1\nWhy?\n\n*Your answer:* Because it is so.\n\n",
        "### Question 2\nHow?\n\n*Your answer:*",
    )
    folded = "\n\n<details><summary>Model answer</summary>\n\nIn many words.\n</details>"
    assert answers_of(notebook(f"{answered}{open_}{folded}", "## Next\nwords")) == {"question 1": 4, "question 2": 0}
    assert answers_of(notebook(answered, open_ + " So.", "## Next")) == {"question 1": 4, "question 2": 1}


@pytest.mark.parametrize("number", (1, 3))
def test_nothing_is_answered_in_a_lab_as_it_is_handed_out(number):
    path = next((ROOT / "labs").glob(f"{number:02}_*.ipynb"))
    assert answers_of(nbformat.read(path, as_version=4)) == {"question 1": 0, "question 2": 0}


def test_every_notebook_is_a_line_whatever_is_wrong_with_it(tmp_path):
    folder, lines = tmp_path / "in", []
    hand_in(folder / "group", "ada", FITS)
    hand_in(folder, "=cmd()", "def exemplars_that_fit(lengths, budget): ...")
    hand_in(folder, "no-python", "def exemplars_that_fit(:")
    (folder / "broken.ipynb").write_text("{", encoding="utf-8")
    nbformat.write(notebook("# Something else", "print(1)"), folder / "other.ipynb")
    grade_folder(folder, tmp_path / "scores.csv", ROOT, lines.append)
    found = table(tmp_path / "scores.csv")
    assert len(found) == 5 and len(lines) == 6
    assert found["group/ada"]["exemplars_that_fit"] == "1" and found["group/ada"]["solved"] == "1"
    assert "exemplars_that_fit" not in found["group/ada"]["notes"]
    assert "min_p: its check is missing" in found["group/ada"]["notes"]
    assert found["'=cmd()"]["exemplars_that_fit"] == "0" and "returns None" in found["'=cmd()"]["notes"]
    assert "is no Python" in found["no-python"]["notes"] and "does not open" in found["broken"]["notes"]
    assert "no exercise of the kit" in found["other"]["notes"]


@pytest.mark.full
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_function_that_misbehaves_costs_its_exercise_and_nothing_else(kind, tmp_path):
    place = tmp_path / "written.txt"
    source = HOSTILE[kind].replace("PLACE", place.as_posix())
    tasks = [
        {"name": "exemplars_that_fit", "function": "exemplars_that_fit", "source": text} for text in (source, FITS)
    ]
    first, second = Worker(seconds=5).results(tasks)
    assert second[1] and not place.exists()
    expected = {"hangs": "took over 5 s", "kills itself": "ended its process", "raises": "ZeroDivisionError"}
    assert first[1] if kind == "prints" else (not first[1] and expected.get(kind, "") in first[2])


def test_scores_hold_a_column_for_each_exercise_of_the_labs_handed_in(tmp_path):
    labs = [Lab("one", ("a", "b"), ("question 1",)), Lab("two", ("c",), ())]
    sheets = [Sheet("x", "one", {"a": "1", "b": "0", "question 1": "answered"}), Sheet("y", "", {}, ["broken"])]
    write_scores(sheets, labs, tmp_path / "new" / "scores.csv")
    found = table(tmp_path / "new" / "scores.csv")
    assert list(found["x"]) == ["student", "lab", "a", "b", "question 1", "solved", "of", "notes"]
    assert (found["x"]["solved"], found["x"]["of"], found["y"]["of"]) == ("1", "2", "0")


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_notebooks_is_named(name, tmp_path):
    (tmp_path / "empty" / ".ipynb_checkpoints").mkdir(parents=True)
    shutil.copy(ROOT / "labs" / "01_dialogue_summarization.ipynb", tmp_path / "empty" / ".ipynb_checkpoints")
    with pytest.raises(GradingError, match=name):
        handed_in(tmp_path / name)
