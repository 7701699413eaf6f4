"""Exercises: does a learner's function solve one of them, and if not, what is the hint.

One module a notebook, named as the notebook, with the checks of its exercises; they are looked up by name. `CHECKS` are
of functions, `EXPERIMENTS` of records: what a learner has changed, measured and chosen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from IPython.display import HTML, display

from helpers.display import notice
from helpers.exercises.expectations import NotYet

RECORD_MIME = "application/vnd.labkit.record+json"
LABS = tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "expectations"))


def all_checks() -> dict[str, Callable]:
    """{name of an exercise in which a function is written: its check} of all notebooks."""
    return {check.__name__: check for lab in LABS for check in import_module(f"{__name__}.{lab}").CHECKS}


def all_experiments() -> dict[str, Callable]:
    """{name of an exercise in which the experiment is changed: the check of its record} of all notebooks."""
    modules = (import_module(f"{__name__}.{lab}") for lab in LABS)
    return {check.__name__: check for module in modules for check in getattr(module, "EXPERIMENTS", ())}


def solves(name: str, answer) -> tuple[bool, str]:
    """Whether an answer solves an exercise, and a sentence that says what is missing.

    Args:
        answer: the function that was to be written, or the record (a dict) of the experiment that was to be made.
    Raises:
        ValueError: there is no exercise of that name.
    """
    checks = all_checks() | all_experiments()
    if name not in checks:
        raise ValueError(f"exercise: {name!r} is not one of {', '.join(checks)}")
    try:
        checks[name](answer)
    except NotYet as hint:
        return False, str(hint)
    except Exception as error:
        what = "function" if callable(answer) else "record"
        return False, f"your {what} raised {type(error).__name__}: {error}"
    return True, "solved"


def check_exercise(name: str, answer) -> HTML:
    """`solves`, as a framed line below the cell."""
    solved, hint = solves(name, answer)
    return HTML(notice("Solved.", good=True) if solved else notice("Not yet.", hint))


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)


def check_experiment(name: str, record: dict):
    """The same for the record of an experiment; the notebook keeps the record beside the verdict, for grading."""
    solved, hint = solves(name, record)
    page = notice("Solved.", good=True) if solved else notice("Not yet.", hint)
    plain = "Solved." if solved else f"Not yet. {hint}"
    display(
        {RECORD_MIME: json.loads(json.dumps(record, default=_plain)), "text/html": page, "text/plain": plain}, raw=True
    )
