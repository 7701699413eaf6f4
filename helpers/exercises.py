"""Exercises: does a learner's function solve one of them, and if not, what is the hint."""

from __future__ import annotations

from collections.abc import Callable

from IPython.display import HTML

from helpers import (
    exercises_alignment,
    exercises_applications,
    exercises_constitution,
    exercises_distillation,
    exercises_feedback,
    exercises_finetuning,
    exercises_inside,
    exercises_own_data,
    exercises_prompting,
    exercises_pruning,
    exercises_quantization,
    exercises_scaling,
)
from helpers.expectations import NotYet
from helpers.show import notice

LABS = (exercises_prompting, exercises_finetuning, exercises_alignment, exercises_feedback, exercises_quantization, exercises_own_data, exercises_pruning,
        exercises_distillation, exercises_constitution, exercises_inside, exercises_scaling, exercises_applications)
CHECKS: dict[str, Callable] = {check.__name__: check for lab in LABS for check in lab.CHECKS}


def solves(name: str, function: Callable) -> tuple[bool, str]:
    """Whether a function solves an exercise, and a sentence that says what is missing.

    Raises:
        ValueError: there is no exercise of that name.
    """
    if name not in CHECKS:
        raise ValueError(f"exercise: {name!r} is not one of {', '.join(CHECKS)}")
    try:
        CHECKS[name](function)
    except NotYet as hint:
        return False, str(hint)
    except Exception as error:   # noqa: BLE001 - whatever a learner's code raises is a hint, not a crash of the lab
        return False, f"your function raised {type(error).__name__}: {error}"
    return True, "solved"


def check_exercise(name: str, function: Callable) -> HTML:
    """`solves`, as a framed line below the cell."""
    solved, hint = solves(name, function)
    return HTML(notice("Solved.", good=True) if solved else notice("Not yet.", hint))
