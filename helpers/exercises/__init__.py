"""Exercises: does a learner's function solve one of them, and if not, what is the hint.

One module a notebook, named as the notebook, with the checks of its exercises; they are looked up by name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from IPython.display import HTML

from helpers.display import notice
from helpers.exercises.expectations import NotYet

LABS = tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "expectations"))


def all_checks() -> dict[str, Callable]:
    """{name of an exercise: its check} of all notebooks."""
    return {check.__name__: check for lab in LABS for check in import_module(f"{__name__}.{lab}").CHECKS}


def solves(name: str, function: Callable) -> tuple[bool, str]:
    """Whether a function solves an exercise, and a sentence that says what is missing.

    Raises:
        ValueError: there is no exercise of that name.
    """
    checks = all_checks()
    if name not in checks:
        raise ValueError(f"exercise: {name!r} is not one of {', '.join(checks)}")
    try:
        checks[name](function)
    except NotYet as hint:
        return False, str(hint)
    except Exception as error:
        return False, f"your function raised {type(error).__name__}: {error}"
    return True, "solved"


def check_exercise(name: str, function: Callable) -> HTML:
    """`solves`, as a framed line below the cell."""
    solved, hint = solves(name, function)
    return HTML(notice("Solved.", good=True) if solved else notice("Not yet.", hint))
