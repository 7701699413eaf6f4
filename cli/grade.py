"""Grades handed-in notebooks: a CSV with one line a student and one column an exercise.

Nothing of a notebook is run but the functions of its exercises, with their imports and constants. Each notebook has a
process of its own (`cli.grading_worker`), with limits of time, memory and network. A notebook that does not open, a
function that hangs or raises is a line of the table, not an end.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from cli.student import ANSWER, LEFT_OUT, find_notebooks
from helpers.exercises import RECORD_MIME

CALL = re.compile(r'^check_(?:exercise|experiment)\("(\w+)", (\w+)\)', re.MULTILINE)
QUESTION = re.compile(r"^### Question (\d+)\n(.*?)(?=^#{1,6} |\Z)", re.MULTILINE | re.DOTALL)
YOUR_WORDS = "*Your answer:*"
SECONDS, STARTING, MEMORY = 20, 180, 2 * 2**30  # for one exercise; for the imports; bytes beyond them
ENDED = ""  # stands for the line that a process did not write, because it has ended
SOLVED, OPEN, ANSWERED = "1", "0", "answered"


class GradingError(ValueError):
    """A folder that cannot be graded; the message says what to do."""


@dataclass
class Sheet:
    """What was found in one notebook."""

    name: str
    lab: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lab:
    """A lab of the kit: what there is to solve in it, in its order."""

    name: str
    exercises: tuple[str, ...]
    questions: tuple[str, ...]


def _sources(notebook, kind):
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def labs_of(root: Path) -> list[Lab]:
    """The kit's labs with their exercises and questions."""
    found = []
    for path in find_notebooks(root):
        notebook = nbformat.read(path, as_version=4)
        exercises = tuple(name for source in _sources(notebook, "code") for name, _ in CALL.findall(source))
        questions = tuple(
            f"question {number}" for source in _sources(notebook, "markdown") for number, _ in QUESTION.findall(source)
        )
        found.append(Lab(path.stem, exercises, questions))
    return found


def definitions(source: str) -> str:
    """The imports, functions, classes and constants of a cell; nothing that computes.

    Raises:
        SyntaxError: it is no Python.
    """
    source = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return "\n".join(ast.unparse(node) for node in ast.parse(source).body if isinstance(node, kept) or _constant(node))


def _constant(node) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def tasks_of(notebook) -> Iterator[dict]:
    """What there is to check in a notebook: a task for each exercise, in order.

    An exercise's cell that is no Python gives a task with "fault" alone. An experiment gives one with the "record" that
    `helpers.exercises.check_experiment` has left in the cell's output; it is not run again.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    before = []
    for cell in cells:
        calls = CALL.findall(cell.source)
        for name, function in calls:
            if "check_experiment" in cell.source:
                record = next((data[RECORD_MIME] for data in _outputs(cell) if RECORD_MIME in data), None)
                yield {"name": name, "record": record} if record else {"name": name, "fault": "was not run"}
            elif before and before[-1][1] is None:
                yield {"name": name, "fault": "its cell is no Python"}
            else:
                yield {"name": name, "function": function, "source": "\n".join(text for _, text in before if text)}
        if not calls:
            try:
                before.append((cell, definitions(cell.source)))
            except (SyntaxError, ValueError):
                before.append((cell, None))


def _outputs(cell) -> list[dict]:
    return [dict(output.get("data", {})) for output in cell.get("outputs", [])]


def answers_of(notebook) -> dict[str, int]:
    """Question -> words that stand behind "Your answer:", up to the next heading; folded model answers do not count."""
    text = ANSWER.sub("", "\n\n".join(_sources(notebook, "markdown")))
    return {
        f"question {number}": len(asked.partition(YOUR_WORDS)[2].split()) for number, asked in QUESTION.findall(text)
    }


class Worker:
    """A process that checks tasks one by one; one that hangs is ended, and a new one goes on with the next task."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY):
        self.seconds, self.memory = seconds, memory

    def results(self, tasks: Sequence[dict]) -> Iterator[tuple[str, bool, str]]:
        """(name, solved, hint) of each task."""
        left = list(tasks)
        while left:
            for name, solved, hint in self._until_it_hangs(left):
                left.pop(0)
                yield name, solved, hint

    def _until_it_hangs(self, tasks):
        with tempfile.TemporaryDirectory(prefix="kit-grade-") as scratch:
            lines: queue.Queue = queue.Queue()
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.grading_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                cwd=Path(__file__).resolve().parent.parent,
                env=_bare_environment(scratch),
            )
            threading.Thread(target=_read_into, args=(process.stdout, lines), daemon=True).start()
            try:
                process.stdin.write(json.dumps({"memory": self.memory, "tasks": list(tasks)}))
                process.stdin.close()
                if _line(lines, STARTING) in (None, ENDED):
                    raise GradingError("the grading process does not start; try `python kit.py test`")
                for task in list(tasks):
                    line = _line(lines, self.seconds)
                    if line in (None, ENDED):
                        hint = "ended its process" if line == ENDED else f"took over {self.seconds:g} s"
                        yield task["name"], False, hint
                        return
                    found = json.loads(line)
                    yield found["name"], found["solved"], found["hint"]
            finally:
                process.kill()
                process.wait()


def _bare_environment(scratch) -> dict[str, str]:
    """What the process needs of this one's environment: no tokens, no hub, its own folder for temporary files."""
    kept = {
        name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG", "HOME", "USERPROFILE") if name in os.environ
    }
    return kept | {
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch),
        **dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "OMP_NUM_THREADS"), "1"),
    }


def _read_into(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(ENDED)


def _line(lines, seconds):
    """What the process wrote next: a line, `ENDED` where it ended instead, None where it wrote nothing in time."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def grade_notebook(path: Path, name: str, labs: Sequence[Lab], worker: Worker) -> Sheet:
    """The sheet of one notebook; everything that is wrong with it is a note."""
    sheet = Sheet(name)
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        tasks = list(tasks_of(notebook))
    except Exception as error:  # a file of any kind, by anybody
        sheet.notes.append(f"does not open as a notebook: {(str(error) or repr(error)).splitlines()[0][:100]}")
        return sheet
    known = {task["name"] for task in tasks}
    lab = max(labs, key=lambda each: len(known & set(each.exercises)), default=None)
    if lab is None or not known & set(lab.exercises):
        sheet.notes.append("holds no exercise of the kit")
        return sheet
    sheet.lab = lab.name
    sheet.marks = dict.fromkeys(lab.exercises, OPEN)
    asked = [task for task in tasks if task["name"] in lab.exercises]
    found = [(task["name"], False, task["fault"]) for task in asked if "fault" in task]
    found += worker.results([task for task in asked if "fault" not in task])
    for exercise, solved, hint in found:
        sheet.marks[exercise] = SOLVED if solved else OPEN
        if not solved:
            sheet.notes.append(f"{exercise}: {hint}")
    sheet.notes += [f"{exercise}: its check is missing" for exercise in lab.exercises if exercise not in known]
    answered = answers_of(notebook)
    sheet.marks |= {question: ANSWERED if answered.get(question) else "" for question in lab.questions}
    return sheet


def handed_in(folder: Path) -> list[Path]:
    """The notebooks of a folder and of the folders in it.

    Raises:
        GradingError: there is no such folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise GradingError(f"{folder}: is no folder; name the one with the handed-in notebooks")
    found = [path for path in sorted(folder.rglob("*.ipynb")) if not set(LEFT_OUT) & set(path.parts)]
    if not found:
        raise GradingError(f"{folder}: holds no notebook (*.ipynb)")
    return found


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def write_scores(sheets: Sequence[Sheet], labs: Sequence[Lab], path: Path):
    """The table; columns are what the labs that were handed in have to solve."""
    used = [lab for lab in labs if any(sheet.lab == lab.name for sheet in sheets)]
    columns = list(dict.fromkeys(name for lab in used for name in (*lab.exercises, *lab.questions)))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "lab", *columns, "solved", "of", "notes"])
        for sheet in sheets:
            exercises = next((lab.exercises for lab in used if lab.name == sheet.lab), ())
            solved = sum(sheet.marks.get(name) == SOLVED for name in exercises)
            marks = [sheet.marks.get(name, "") for name in columns]
            notes = "; ".join(sheet.notes)
            writer.writerow([_cell(sheet.name), sheet.lab, *marks, solved, len(exercises), _cell(notes)])
    partial.replace(path)


def grade_folder(folder: Path, scores: Path, root: Path, show=print, worker: Worker | None = None) -> list[Sheet]:
    """Grades every notebook of a folder and writes the scores after each, so that an interruption loses one at most."""
    paths, labs, sheets = handed_in(folder), labs_of(root), []
    worker = worker or Worker()
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        sheets.append(sheet := grade_notebook(path, name, labs, worker))
        write_scores(sheets, labs, scores)
        solved = sum(mark == SOLVED for mark in sheet.marks.values())
        show(f"{name}: {f'{sheet.lab}, {solved} solved' if sheet.lab else sheet.notes[0]}")
    show(f"{len(sheets)} notebooks graded: {scores}")
    return sheets


def grade(folder: Path, scores: Path, root: Path) -> int:
    """The command; returns the exit status."""
    try:
        grade_folder(folder, scores, root)
    except (GradingError, OSError) as error:
        print(f"kit.py grade: {error}", file=sys.stderr)
        return 2
    return 0
