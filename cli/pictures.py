"""Pictures: figures of a real run for the README, from the cells that labs tag with the name of a picture."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat

from cli.executed_labs import Executed, ExecutedError
from cli.pages import still

TAG = "picture:"        # a cell tagged picture:lab1-prompting draws docs/lab1-prompting.png
PROFILE = "pocket"      # what the README shows, anybody can repeat


def named(lab: Path) -> dict[str, str]:
    """{name of a picture: id of the cell that draws it} of a lab."""
    return {tag.removeprefix(TAG): cell.id for cell in nbformat.read(lab, as_version=4).cells
            for tag in cell.metadata.get("tags", []) if tag.startswith(TAG)}


def pictures(run: Executed) -> dict[str, bytes]:
    """{name: PNG} of one run.

    Raises:
        ExecutedError: the run was not finished, not with the profile `pocket`, or not of the lab as it stands; or a tagged cell drew nothing.
    """
    wanted = named(run.lab)
    if not wanted:
        return {}
    if run.complaint:
        raise ExecutedError(f"{run.complaint}. Pictures are made from finished runs alone")
    if run.profile != PROFILE:
        raise ExecutedError(f"{run.lab.stem}: executed with profile {run.profile or 'unknown'!r}, and pictures show {PROFILE!r}")
    cells, found = {cell.id: cell for cell in still(run.notebook).cells}, {}
    for name, number in wanted.items():
        drawn = [output.data["image/png"] for output in cells[number].outputs if "image/png" in output.get("data", {})]
        if not drawn:
            raise ExecutedError(f"{run.lab.stem}: the cell tagged {TAG}{name} drew nothing; give the tag to one that draws")
        found[name] = base64.b64decode(drawn[-1])
    return found


def write_pictures(runs: list[Executed], folder: Path) -> list[str]:
    """Writes each tagged figure as `folder`/NAME.png, all of them or, where one is missing, none. Returns the names written.

    Raises:
        ExecutedError: as in `pictures`, of any lab with a tagged cell.
    """
    found = {f"{name}.png": png for run in runs for name, png in pictures(run).items()}
    for name, png in found.items():
        (folder / name).write_bytes(png)
    return list(found)
