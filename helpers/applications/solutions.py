"""What a rule says of a model's solutions of word problems: form, arithmetic, result; pass@k and the majority's
answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.applications.calculator import CalculatorError, calculate
from helpers.applications.word_problems import Problem, solved_value
from helpers.models.generation import generate

STEP = re.compile(r"\s*(\d{1,12} [-+*] \d{1,12}) = (-?\d{1,12})\s*", re.ASCII)  # one step: a program and its value
LONGEST = 28  # tokens of a solution; the kit's own have 20 at most, with their end token


@dataclass(frozen=True)
class Checked:
    """What a rule says of one completion.

    Attributes:
        form: it is steps of the form "3 * 4 = 12" with commas between; calculated: that, and every step's value is
            right; right: its last number is the problem's answer.
    """

    form: bool
    calculated: bool
    right: bool


def check_solution(completion: str, problem: Problem) -> Checked:
    """Form, arithmetic and result of what a model wrote for a problem.

    Steps begin with whole numbers of up to twelve digits, written without a sign: "-2 + 4 = 2" has no form.
    """
    steps = [STEP.fullmatch(part) for part in completion.split(",")]
    form = all(steps)
    calculated = form and all(_value(step[1]) == int(step[2]) for step in steps)
    return Checked(form, calculated, solved_value(completion, "steps") == problem.answer)


def _value(program):
    try:
        return calculate(program)
    except CalculatorError:
        return None


def pass_at_k(right, k: int) -> np.ndarray:
    """(N,) the chance that at least one of k completions is right, for each of N problems; no bias.

    Args:
        right: (N, n) whether each of n completions of a problem is right; k: from 1 to n.
    Raises:
        ValueError: k is not from 1 to n, or `right` is not a matrix.
    Source: Chen et al. 2021, equation 1: 1 − C(n − c, k) / C(n, k) for c right ones.
    """
    right = np.asarray(right, dtype=bool)
    if right.ndim != 2:
        raise ValueError(f"right: its shape is {right.shape}; give a row for each problem, a column for each draw")
    count = right.shape[1]
    if not 1 <= k <= count:
        raise ValueError(f"k: {k} is not from 1 to {count}, the completions of each problem")
    wrong, missed = count - right.sum(1), np.ones(len(right))
    for drawn in range(k):
        missed *= np.clip(wrong - drawn, 0, None) / (count - drawn)
    return 1 - missed


def majority(answers: Sequence[int | None]) -> int | None:
    """The answer that most completions give; of equals the one that came first. None where none gives a number.

    Source: Wang et al. 2023, *Self-Consistency Improves Chain of Thought Reasoning in Language Models*.
    """
    counted = Counter(answer for answer in answers if answer is not None)
    return counted.most_common(1)[0][0] if counted else None


@dataclass(frozen=True)
class Solutions:
    """Several completions of each of N problems, and what the rule says of them.

    Attributes:
        texts: N lists of n completions; form, calculated, right: (N, n) of booleans, see `Checked`.
        tokens: (N, n) length of each text, without its end token; voted: (N,) whether the majority of all n is right.
    """

    texts: list[list[str]]
    form: np.ndarray
    calculated: np.ndarray
    right: np.ndarray
    tokens: np.ndarray
    voted: np.ndarray


def solve(
    model, tokenizer, problems: Sequence[Problem], prompts: Sequence[str], draws: int, seed: int, temperature=1.0
) -> Solutions:
    """Samples `draws` solutions of each problem and checks them.

    Args:
        prompts: N texts, as the model reads the problems; draws: at least 1.
        seed: of the samples; temperature: divides the logits, above 0.
    Raises:
        ValueError: no problems, not one prompt for each, or no draws.
        GenerationError: see `helpers.models.generation.generate`, which leaves special tokens out of the texts.
    """
    if not problems or isinstance(prompts, str) or len(prompts) != len(problems) or draws < 1:
        raise ValueError(
            f"{len(problems)} problems, {len(prompts)} prompts, {draws} draws: give a prompt for each problem, and "
            "draw at least once"
        )
    repeated = [prompt for prompt in prompts for _ in range(draws)]
    options = {"do_sample": True, "temperature": temperature, "max_new_tokens": LONGEST, "batch_size": 512}
    written = generate(model, tokenizer, repeated, seed=seed, **options)
    texts = [written[place : place + draws] for place in range(0, len(written), draws)]
    checked = [[check_solution(text, problem) for text in row] for row, problem in zip(texts, problems)]
    answers = [[solved_value(text, "steps") for text in row] for row in texts]
    named = {
        name: np.array([[getattr(each, name) for each in row] for row in checked])
        for name in ("form", "calculated", "right")
    }
    return Solutions(
        texts,
        **named,
        tokens=np.array([[len(ids) for ids in tokenizer(row)["input_ids"]] for row in texts]),
        voted=np.array([majority(row) == problem.answer for row, problem in zip(answers, problems)]),
    )
