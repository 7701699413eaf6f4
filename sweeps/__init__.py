"""Sweeps: many runs of one experiment, each kept in a file of its own, so that a stopped sweep goes on and labs read
the results.

A sweep gives two things: *points*, each with a `name`, and a *bench* with `base()` -> dict, what is known before any
run, and `measure(point, work)` -> dict, one run, whose checkpoints go to the folder `work` until it is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers.progress import progress
from helpers.run_records import write_json

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (1, 2, 3)


def each_once(sweeps: Iterable[Sequence]) -> list:
    """The points of several sweeps; those that share their name count once."""
    return list({point.name: point for points in sweeps for point in points}.values())


def run_sweep(chosen: Sequence, bench, results: Path, work: Path):
    """Measures the points that have no file in `results` yet; each file is written whole or not at all."""
    results.mkdir(parents=True, exist_ok=True)
    base = results / "base.json"
    if not base.exists():
        write_json(base, bench.base())
    for point in progress(chosen, desc="sweep", unit="run"):
        path = results / f"{point.name}.json"
        if not path.exists():
            write_json(path, bench.measure(point, work))


class Results(dict):
    """Point's name -> what was measured, and "base" for what was known before; a missing one names the command that
    makes it.
    """

    def __init__(self, found: Mapping, command: str):
        super().__init__(found)
        self.command = command

    def __missing__(self, name):
        raise KeyError(f"{name}.json is not among the results; make it with: {self.command}")


def load_results(folder: Path, command: str) -> Results:
    """What a sweep has left in `folder`; `command` is what makes it.

    Raises:
        FileNotFoundError: nothing was measured yet; the message names the command.
    """
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.json"))}
    if not found:
        raise FileNotFoundError(f"{folder}: holds no results; make them with: {command}")
    return Results(found, command)


def each_seed(results: Results, point, metric: str = "rouge1", within: Sequence[str] = ()) -> np.ndarray:
    """(S, N) a number of each of N rows, for a point and those that differ from it in the seed alone; or (S, draws, N).

    Args:
        point: with any seed; one that was not trained (its attribute `trained` is false) has no seeds, and S is 1.
        metric: a name in the point's record, or in the record's table "rouge".
        within: names that lead to the table in which the metric stands.
    Raises:
        KeyError: a seed was not measured; the message names the file and the command.
    """
    points = [replace(point, seed=seed) for seed in SEEDS] if getattr(point, "trained", True) else [point]
    columns = []
    for each in points:
        found = results[each.name]
        for name in within:
            found = found[name]
        columns.append(found[metric] if metric in found else found["rouge"][metric])
    return np.array(columns, dtype=float)


def over_seeds(results: Results, point, metric: str = "rouge1", within: Sequence[str] = ()) -> np.ndarray:
    """(N,) the mean of `each_seed` over the seeds, and over the draws where there are several."""
    found = each_seed(results, point, metric, within)
    return found.mean(axis=tuple(range(found.ndim - 1)))


def _part(text):
    """ "2/3" as (2, 3), for the command line."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1/2: which part, of how many")
    return int(number), int(parts)


def command_line(description: str, sweeps: Mapping[str, Sequence], bench: Callable, results: Path, arguments=None):
    """Measures the chosen points that are missing, as the command line says.

    Args:
        sweeps: name -> points; bench: makes the bench, given the folder of checkpoints.
        results: where the scores go unless --results says otherwise; arguments: the command line's unless given.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", choices=tuple(sweeps), help="one sweep alone")
    parser.add_argument(
        "--part",
        type=_part,
        default=(1, 1),
        help="every n-th point only, to share the work between processes or machines",
    )
    parser.add_argument("--results", type=Path, default=results, help="where the scores go")
    parser.add_argument(
        "--work", type=Path, default=Path("build") / "sweeps", help="checkpoints of the run in progress"
    )
    chosen = parser.parse_args(arguments)
    number, parts = chosen.part
    points, work = (
        each_once([sweeps[chosen.only]] if chosen.only else sweeps.values()),
        chosen.work / f"part-{number}-of-{parts}",
    )
    run_sweep(points[number - 1 :: parts], bench(work), chosen.results, work)
