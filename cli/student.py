"""Handout: the labs for students, without solutions and outputs, with everything beside them that they need to run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from cli.publish import UNPUBLISHED_BADGE, replace_badge

# Neither tests nor benchmarks: the tests hold a solution of every exercise.
BESIDE = (
    "kit.py",
    "requirements.txt",
    "constraints.txt",
    "requirements-models.txt",
    "pyproject.toml",
    "setup.py",
    "environment.yml",
    "README.md",
    "LICENSE",
    ".gitattributes",
    ".gitignore",
    "docs",
    "helpers",
    "pocket",
    "sweeps",
    "cli",
)
LEFT_OUT = ("__pycache__", ".ipynb_checkpoints")
ANSWER = re.compile(r"<details>\s*<summary>([^<]*)</summary>.*?</details>", re.DOTALL)
SOLUTION, FAULT, MODEL = "Solution", "What is wrong", "Model answer"
YOUR_ANSWER = "*What is wrong? Write your answer here before you go on.*"


class HandoutError(ValueError):
    """A folder or a lab from which no handout can be made; the message says what to do."""


def without_answers(notebook, name: str) -> int:
    """Takes solutions, answers, outputs and the published address out of a notebook, in place; checks and stubs stay.

    A folded solution or model answer goes; a folded answer to "Spot the bug" makes room for the student's own.

    Args:
        name: of the lab, for the message.
    Returns: how many were taken out.
    Raises:
        HandoutError: a folded block of another kind, or one that is not closed.
    """
    cells, taken = [], 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif "<details" in cell.source:
            cell.source, count = _without_blocks(cell.source, f"{name}, cell {cell.get('id', len(cells))}")
            taken += count
        if cell.source.strip():
            cells.append(cell)
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)
    replace_badge(notebook, UNPUBLISHED_BADGE)
    return taken


def _without_blocks(text, place):
    """(the text without its folded blocks, how many there were)."""
    blocks = ANSWER.findall(text)
    unknown = [summary for summary in blocks if summary.strip() not in (SOLUTION, FAULT, MODEL)]
    if unknown or text.count("<details") != len(blocks):
        raise HandoutError(
            f"{place}: a folded block that is not closed as it should be, or not called {SOLUTION!r}, {FAULT!r} or "
            f"{MODEL!r}"
            f"{f' but {unknown[0]!r}' if unknown else ''}; correct the lab, or students would be given it"
        )
    return ANSWER.sub(lambda match: YOUR_ANSWER if match[1].strip() == FAULT else "", text).strip(), len(blocks)


def find_notebooks(root: Path) -> list[Path]:
    """All labs and extras of a kit."""
    return [path for path in sorted((root / "labs").glob("**/*.ipynb")) if not set(LEFT_OUT) & set(path.parts)]


def _beside(root) -> Iterator[Path]:
    """The files that labs need beside them."""
    for name in BESIDE:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and not set(LEFT_OUT) & set(path.relative_to(root).parts):
                yield path


def contents(root: Path) -> tuple[dict[Path, bytes], int]:
    """({path within the handout: content}, number of solutions and answers that were taken out).

    Raises:
        HandoutError: the kit holds no lab, or one that cannot be read or stripped.
    """
    files = {path.relative_to(root): path.read_bytes() for path in _beside(root)}
    taken, labs = 0, find_notebooks(root)
    if not labs:
        raise HandoutError(f"{root / 'labs'}: holds no notebook; is the kit complete?")
    for path in labs:
        try:
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
        except (ValueError, nbformat.ValidationError) as error:
            raise HandoutError(
                f"{path}: is no notebook ({(str(error) or repr(error)).splitlines()[0][:100]}); restore it or "
                "move it away"
            ) from None
        taken += without_answers(notebook, path.name)
        files[path.relative_to(root)] = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    return files, taken


def write_handout(root: Path, target: Path) -> tuple[int, int]:
    """Writes the handout; files that are there already, byte for byte, are left alone.

    Returns: (files written, solutions and answers that were taken out).
    Raises:
        HandoutError: a file of another content is in the way, perhaps a student's work: then nothing at all is written.
    """
    copied = [(root / name).resolve() for name in (*BESIDE, "labs")]
    if any(place in (target.resolve(), *target.resolve().parents) for place in copied):
        raise HandoutError(f"{target}: lies inside what is handed out; name a folder elsewhere, such as build/student")
    files, taken = contents(root)
    missing, different = [], []
    for name, content in files.items():
        path = target / name
        if not path.exists() and not path.is_symlink():
            missing.append(name)
        elif not path.is_file() or path.read_bytes() != content:
            different.append(name.as_posix())
    if different:
        raise HandoutError(
            f"{target}: holds other versions of {len(different)} files, perhaps somebody's work: "
            f"{', '.join(different[:5])}"
            f"{' …' if len(different) > 5 else ''}; nothing was written. Name a new folder, or move these files away"
        )
    for name in missing:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(files[name])
        partial.replace(path)
    return len(missing), taken


def hand_out(root: Path, target: Path) -> int:
    """The command `kit.py student`: writes the handout and says what is in it. Returns the exit status."""
    try:
        written, taken = write_handout(root, target)
    except (HandoutError, OSError) as error:
        print(f"kit.py student: {error}", file=sys.stderr)
        return 2
    labs = ", ".join(path.stem for path in find_notebooks(root))
    print(
        f"{target}: {written} files written; {taken} solutions and answers were left out of {labs}.\n"
        "It is a kit of its own: there, python kit.py open 1 sets it up and opens lab 1. Not in it: tests (they "
        "solve every exercise), benchmarks."
    )
    return 0
