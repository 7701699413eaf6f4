"""Executed labs: what `kit.py run` left of each, whether it still is what the lab would give, and the README's
pictures.

A picture is a figure of a real run, from the cell that a lab tags with the picture's name.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

import nbformat

from cli.pages import command, still
from cli.publish import find_set_up
from cli.run import read_results

TAG = "picture:"  # a cell tagged picture:lab1-prompting draws docs/lab1-prompting.png
PROFILE = "pocket"  # what the README shows, anybody can repeat


class ExecutedError(ValueError):
    """A build folder, or a file in it, that cannot be used; the message says which command mends it."""


class Executed(NamedTuple):
    """A lab and its run."""

    lab: Path  # the lab itself
    notebook: object  # as executed; the lab as it stands where there was no run
    executed: bool
    profile: str  # that it ran with, "" where that is not known
    complaint: str  # why its results are missing or not to be relied on; "" where all is well


def code(notebook) -> list[str]:
    """The code of a notebook that a computer runs: without the set-up cell, which only Colab does and `kit.py publish`
    writes.
    """
    set_up = find_set_up(notebook)
    return [cell.source for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and index != set_up]


def read_executed(lab: Path, build: Path) -> Executed:
    """A lab's run in the folder `build`.

    Raises:
        ExecutedError: a file that is no notebook.
    """
    current, place = nbformat.read(lab, as_version=4), build / lab.name
    if not place.exists():
        return Executed(lab, current, False, "", f"{lab.stem}: not executed; {command(lab.stem)} does it")
    try:
        notebook = nbformat.read(place, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError) as error:
        reason = (str(error) or repr(error)).splitlines()[0][:100]
        raise ExecutedError(f"{place}: is no notebook ({reason}); {command(lab.stem)} writes it anew") from None
    known = next((result for result in read_results(build) if result["name"] == lab.stem), {})
    complaint = ""
    if known.get("status", "finished") != "finished":
        complaint = f"{lab.stem}: {known['status']}; {command(lab.stem)} executes it again"
    elif known.get("size", "full") != "full":
        complaint = (
            f"{lab.stem}: executed in {known['size']} size; {command(lab.stem)} without LAB_SIZE executes it in full"
        )
    elif code(current) != code(notebook):
        complaint = f"{lab.stem}: the lab was changed after it was executed; {command(lab.stem)} executes it again"
    return Executed(lab, notebook, True, known.get("profile", ""), complaint)


def read_all(labs: list[Path], build: Path) -> list[Executed]:
    """The runs of several labs.

    Raises:
        ExecutedError: no lab was executed into `build`, or a file in it is no notebook.
    """
    if not any((build / lab.name).exists() for lab in labs):
        raise ExecutedError(
            f"{build}: holds no executed lab; python kit.py run executes the numbered ones, python kit.py run "
            "extras the others"
        )
    return [read_executed(lab, build) for lab in labs]


def named(lab: Path) -> dict[str, str]:
    """{name of a picture: id of the cell that draws it} of a lab."""
    return {
        tag.removeprefix(TAG): cell.id
        for cell in nbformat.read(lab, as_version=4).cells
        for tag in cell.metadata.get("tags", [])
        if tag.startswith(TAG)
    }


def pictures(run: Executed) -> dict[str, bytes]:
    """{name: PNG} of one run.

    Raises:
        ExecutedError: the run was not finished, not with the profile `pocket`, or not of the lab as it stands; or a
            tagged cell drew nothing.
    """
    wanted = named(run.lab)
    if not wanted:
        return {}
    if run.complaint:
        raise ExecutedError(f"{run.complaint}. Pictures are made from finished runs alone")
    if run.profile != PROFILE:
        raise ExecutedError(
            f"{run.lab.stem}: executed with profile {run.profile or 'unknown'!r}, and pictures show {PROFILE!r}"
        )
    cells, found = {cell.id: cell for cell in still(run.notebook).cells}, {}
    for name, number in wanted.items():
        drawn = [output.data["image/png"] for output in cells[number].outputs if "image/png" in output.get("data", {})]
        if not drawn:
            raise ExecutedError(
                f"{run.lab.stem}: the cell tagged {TAG}{name} drew nothing; give the tag to one that draws"
            )
        found[name] = base64.b64decode(drawn[-1])
    return found


def write_pictures(runs: list[Executed], folder: Path) -> list[str]:
    """Writes each tagged figure as `folder`/NAME.png, all of them or, where one is missing, none. Returns the names
    written.

    Raises:
        ExecutedError: as in `pictures`, of any lab with a tagged cell.
    """
    found = {f"{name}.png": png for run in runs for name, png in pictures(run).items()}
    for name, png in found.items():
        (folder / name).write_bytes(png)
    return list(found)
