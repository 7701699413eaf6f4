"""Exercises: does a learner's function solve one of them, and if not, what is the hint."""

from __future__ import annotations

from collections.abc import Callable

from IPython.display import HTML

from helpers import (     exercises_alignment
from helpers.exercises import applications as exercises_applications
from helpers.exercises import constitutional_ai as exercises_constitution
from helpers.exercises import distillation as exercises_distillation
from helpers.exercises import human_feedback as exercises_feedback
from helpers.exercises import full_vs_lora_finetuning as exercises_finetuning
from helpers.exercises import inside_a_transformer as exercises_inside
from helpers.exercises import your_own_data as exercises_own_data
from helpers.exercises import dialogue_summarization as exercises_prompting
from helpers.exercises import pruning as exercises_pruning
from helpers.exercises import quantization as exercises_quantization
from helpers.exercises import scaling as exercises_scaling
from helpers.exercises.expectations import NotYet
from helpers.display import notice

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
