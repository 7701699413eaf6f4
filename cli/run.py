"""Running: executes notebooks without a browser, in a kernel of this very Python, and keeps what they measured."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from cli.doctor import machine_facts
from cli.pages import collect_claims, headings, index_page, main_result, write_figures, write_page
from helpers.settings import SettingsError, load_settings

MEMORY = "results.json"  # results of earlier runs, so that running lab 2 keeps lab 1 in the index
SHOWN_VERSIONS = ("torch", "transformers", "tokenizers", "datasets", "evaluate", "rouge-score", "sacrebleu", "numpy")
TRACEBACK_LINES = 15
# Else every kernel warns that other users of the computer could listen.
ENCRYPTED = Config({"KernelManager": {"transport_encryption": "auto"}})
DESCRIBING = "--IPKernelApp.extensions=helpers.visualization.alt_text"  # every figure says what it shows


class ThisPython(AsyncKernelManager):
    """Starts kernels on the interpreter that runs this module, whatever kernels are registered on the computer."""

    @property
    def kernel_spec(self):
        """What to start; replaces the look-up by name."""
        return KernelSpec(**get_kernel_dict([DESCRIBING]))


class Failure(Exception):
    """A cell that did not run to its end; the message is for people."""


def new_result(path: Path, notebook, profile: str, size: str = "full") -> dict:
    """What the index shows of a lab, before its first cell has run."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    titles = [title for cell in notebook.cells if cell.cell_type == "markdown" for title in headings(cell.source)]
    return {
        "name": path.stem,
        "title": titles[0] if titles else path.stem,
        "profile": profile,
        "size": size,
        "status": "unfinished",
        "cells": len(code),
        "cells_run": 0,
        "seconds": 0.0,
        "finished": "",
        "shown": "",
        "notebook": "",
        "claims": [],
        "figures": [],
        "alt_texts": {},
    }


def plain(text: str) -> str:
    """The text without what a terminal obeys: colour codes, and whatever a file's content may have brought into a
    message.
    """
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text)


def last_lines(cell, error: CellExecutionError) -> str:
    """The end of a failed cell's traceback: where in the kit or the cell it happened, and the error itself."""
    traces = ["\n".join(output.traceback) for output in cell.outputs if output.output_type == "error"]
    lines = plain(traces[-1] if traces else f"{error.ename}: {error.evalue}").rstrip().splitlines()
    return "\n".join(lines[-TRACEBACK_LINES:])


def describe(cells, index: int) -> str:
    """One line that tells a reader where a cell stands: the heading above it and the first line of its source."""
    above = [line for cell in cells[:index] if cell.cell_type == "markdown" for line in headings(cell.source)]
    first = next((line.strip() for line in cells[index].source.splitlines() if line.strip()), "")
    return f"{above[-1][:40]} | {first[:60]}" if above else first[:60]


def execute(notebook, result: dict, cwd: Path, environment: dict[str, str]):
    """Runs every code cell in order, in place, with one line of progress each; `result` counts what was done.

    Raises:
        Failure: a cell failed, or the kernel died; cells before it have their outputs.
        KeyboardInterrupt: the user stopped it; the kernel is shut down.
    """
    client = NotebookClient(
        notebook, kernel_manager_class=ThisPython, timeout=None, shutdown_kernel="immediate", config=ENCRYPTED
    )
    client.reset_execution_trackers()
    with client.setup_kernel(cwd=str(cwd), env=environment):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            number = result["cells_run"] + 1
            print(f"  [{number:3}/{result['cells']}] {describe(notebook.cells, index)}", end="", flush=True)
            started = time.perf_counter()
            try:
                client.execute_cell(cell, index, execution_count=number)
            except CellExecutionError as error:
                raise Failure(f"cell {number} failed:\n\n{cell.source}\n\n{last_lines(cell, error)}") from None
            except DeadKernelError:
                raise Failure(
                    f"cell {number} ended its kernel, most often for want of memory (python kit.py doctor "
                    f"shows how much there is):\n\n{cell.source}"
                ) from None
            finally:
                print(f"  {time.perf_counter() - started:.1f} s", flush=True)
                client.set_widgets_metadata()
            result["cells_run"] = number


def save(notebook, result: dict, path: Path, out: Path):
    """Writes executed notebook, page and figures, and the index with this lab's part renewed."""
    texts = write_figures(notebook, out / "figures", path.stem)
    result |= {"claims": collect_claims(notebook.cells), "figures": list(texts), "alt_texts": texts}
    result |= {"shown": main_result(notebook) if result["status"] == "finished" else "", "notebook": way(path, out)}
    nbformat.write(notebook, out / path.name)
    write_page(notebook, out / f"{path.stem}.html", path.parent)
    results = {known["name"]: known for known in read_results(out)} | {path.stem: result}
    ordered = [results[name] for name in sorted(results)]
    (out / MEMORY).write_text(json.dumps(ordered, indent=1), encoding="utf-8")
    facts = machine_facts() | {name: version(name) for name in SHOWN_VERSIONS}
    (out / "index.html").write_text(index_page(ordered, facts), encoding="utf-8")


def way(path: Path, out: Path) -> str:
    """The way from a folder of pages to a notebook, for a link; "" if they are on two disks of Windows."""
    try:
        return Path(os.path.relpath(path, out)).as_posix()
    except ValueError:
        return ""


def read_results(out: Path) -> list[dict]:
    """Results of earlier runs into the same folder; none if there are none, or if the file is not readable."""
    try:
        return json.loads((out / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def run_lab(path: Path, out: Path, profile: str, size: str = "full") -> int:
    """Executes one notebook and saves what came of it, finished or not.

    Returns: the exit status: 0, 1 (a cell failed) or 130 (Ctrl-C).
    """
    notebook = nbformat.read(path, as_version=4)
    result, status, started = new_result(path, notebook, profile, size), 0, time.perf_counter()
    environment = os.environ | {"LAB_PROFILE": profile, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    print(f"{path.name} ({profile}{'' if size == 'full' else f', {size} size'})", flush=True)
    try:
        execute(notebook, result, path.parent, environment)
        result["status"] = "finished"
    except Failure as failure:
        status, result["status"] = 1, f"cell {result['cells_run'] + 1} failed"
        print(f"\n{path.name}: {failure}", file=sys.stderr)
    except KeyboardInterrupt:
        status, result["status"] = 130, f"interrupted in cell {result['cells_run'] + 1}"
        print(f"\n{path.name}: interrupted in cell {result['cells_run'] + 1}; the kernel is shut down", file=sys.stderr)
    result |= {"seconds": time.perf_counter() - started, "finished": time.strftime("%Y-%m-%d %H:%M")}
    save(notebook, result, path, out)
    print(
        f"  {result['status']}: {result['cells_run']} of {result['cells']} cells, {result['seconds']:.0f} s; "
        f"{len(result['figures'])} figures, {len(result['claims'])} claims",
        flush=True,
    )
    return status


def run_labs(paths: list[Path], out: Path, profile: str | None = None) -> int:
    """Executes notebooks in order into the folder `out`; stops at the first that fails. Returns the exit status."""
    try:
        settings = load_settings(profile)
    except SettingsError as error:
        print(f"kit.py run: {error}", file=sys.stderr)
        return 2
    try:
        for folder in (out, out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # said now, and not after the lab has run
    except OSError as error:
        print(f"kit.py run: {out}: cannot be written ({error.strerror}); choose a folder with --out", file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        status = run_lab(path, out, settings.profile, settings.size)
        if status:
            break
    print(f"pages: {out / 'index.html'}")
    return status
