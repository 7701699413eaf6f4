"""Sweeps: many runs of one experiment, each kept in a file of its own, so that a stopped sweep goes on and labs read
the results.

A sweep gives two things: *points*, each with a `name`, and a *bench* with `base()` -> dict, what is known before any
run, and `measure(point, work)` -> dict, one run, whose checkpoints go to the folder `work` until it is done. A bench
with `settings` computes on their device, others on the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from helpers.evaluation.statistics import Interval
from helpers.hardware import machine
from helpers.progress import progress
from helpers.run_records import write_json
from sweeps.intervals import difference_over_seeds, mean_over_seeds

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (1, 2, 3, 4, 5)
PACKAGES = ("torch", "transformers", "peft", "numpy")  # whose versions decide a result


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
            start = time.perf_counter()
            found = bench.measure(point, work)
            made = provenance(bench.settings.device if hasattr(bench, "settings") else "cpu")
            write_json(path, found | {"made": made | {"seconds": round(time.perf_counter() - start)}})


def provenance(device: str = "cpu") -> dict:
    """What a result was made with: versions and the machine."""
    return {"versions": {package: version(package) for package in PACKAGES}, "machine": machine(device)}


class Results(dict):
    """Point's name -> what was measured, and "base" for what was known before; a missing one names the command that
    makes it.
    """

    def __init__(self, found: Mapping, command: str, seeds: Sequence[int] = SEEDS):
        super().__init__(found)
        self.command, self.seeds = command, tuple(seeds)

    def __missing__(self, name):
        raise KeyError(f"{name}.json is not among the results; make it with: {self.command}")

    def scores(self, point, metric: str = "rouge1", within: Sequence[str] = ()) -> np.ndarray:
        """(S, N) a number of each of N rows, for a point and those that differ from it in the seed alone.

        Args:
            point: with any seed, or "base"; what was not trained ("base", a point whose attribute `trained` is false)
                has no seeds, and S is 1.
            metric: a name in the point's record, or in the record's table "rouge"; where a record holds several draws,
                their mean counts.
            within: names that lead to the table in which the metric stands.
        Raises:
            KeyError: a seed was not measured; the message names the file and the command.
        """
        if point == "base":
            names = ["base"]
        elif getattr(point, "trained", True):
            names = [replace(point, seed=seed).name for seed in self.seeds]
        else:
            names = [point.name]
        rows = []
        for name in names:
            found = self[name]
            for key in within:
                found = found[key]
            numbers = np.array(found[metric] if metric in found else found["rouge"][metric], dtype=float)
            rows.append(numbers.mean(0) if numbers.ndim == 2 else numbers)
        return np.array(rows)

    def interval(self, point, metric: str = "rouge1", within: Sequence[str] = (), minus=None, where=None) -> Interval:
        """The mean over rows and seeds with its 95% interval over seeds and clusters together.

        Args:
            minus: another point, or "base", whose numbers are subtracted, seed by seed and row by row.
            where: (N,) which rows count; all without a value. The other arguments are those of `scores`.
        """
        clusters = np.array(self.clusters(metric, within))
        chosen = slice(None) if where is None else np.asarray(where)
        scores = self.scores(point, metric, within)[:, chosen]
        if minus is None:
            return mean_over_seeds(scores, clusters[chosen])
        return difference_over_seeds(scores, self.scores(minus, metric, within)[:, chosen], clusters[chosen])

    def clusters(self, metric: str = "rouge1", within: Sequence[str] = ()) -> list:
        """The cluster (scenario, else dialogue) of every row that a metric is measured on: those listed for the metric
        or for a table that it stands in, else those of all rows.
        """
        base = self["base"]
        listed = [base[f"{name}_clusters"] for name in (metric, *within) if f"{name}_clusters" in base]
        return listed[0] if listed else base["clusters"]


def load_results(folder: Path, command: str, seeds: Sequence[int] = SEEDS) -> Results:
    """What a sweep has left in `folder`; `command` is what makes it, `seeds` are those of its points.

    Raises:
        FileNotFoundError: nothing was measured yet; the message names the command.
    """
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.json"))}
    if not found:
        raise FileNotFoundError(f"{folder}: holds no results; make them with: {command}")
    return Results(found, command, seeds)


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
