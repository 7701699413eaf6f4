"""An agent: a model that writes a thought and an action, a loop that runs the action and writes what came of it below,
step by step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from helpers.applications.calculator import CalculatorError, calculate

FINISH = "finish"
ACTION = re.compile(r"Action:\s*(\w+)\[([^\[\]\n]*)\]")
MARKS = re.compile(r"\b(Thought|Action|Observation|Question)\s*:", re.IGNORECASE)
LONGEST = 300  # characters of an observation


@dataclass(frozen=True)
class Step:
    """What the model wrote, the action read from it (None where there is none), its argument, and what the loop
    answered.
    """

    written: str
    action: str | None
    argument: str
    observation: str

    @property
    def thought(self) -> str:
        """What the model wrote before its action."""
        return self.written.partition("Action:")[0].removeprefix("Thought:").strip()

    def lines(self) -> str:
        """The step as the next prompt shows it."""
        return f"{self.written}\nObservation: {self.observation}"


@dataclass
class Trace:
    """One question and the steps so far; `answer` is the argument of finish, None while there is none, and `end` says
    why the loop stopped.
    """

    question: str
    steps: list[Step] = field(default_factory=list)
    answer: str | None = None
    end: str = ""

    def prompt(self) -> str:
        """What the model reads before its next step: the question and all steps so far."""
        return "\n".join([f"Question: {self.question}", *(step.lines() for step in self.steps)])

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(number, thought, action, observation) of each step, for a table."""
        return [
            (
                str(number),
                step.thought,
                f"{step.action}[{step.argument}]" if step.action else step.written,
                step.observation,
            )
            for number, step in enumerate(self.steps, 1)
        ]


def own_words(written: str) -> str:
    """What the model wrote up to its first action: from there on it is the world's turn, and what the model imagines of
    it is dropped.
    """
    written = written.partition("Observation:")[0]
    found = ACTION.search(written)
    return written[: found.end() if found else None].strip()


def read_action(written: str) -> tuple[str | None, str]:
    """(name, argument) of the first action in the model's own words, (None, "") where there is none: later ones answer
    observations that it made up.
    """
    found = ACTION.search(own_words(written))
    return (found[1], found[2].strip()) if found else (None, "")


def quoted(text: str) -> str:
    """A document as an observation: one line, at most `LONGEST` characters, and none of the words with which the loop
    marks its own lines.
    """
    return MARKS.sub(r"(\1)", " ".join(text.split()))[:LONGEST]


def calculator_tool(argument: str) -> str:
    """What `calculate[…]` answers: the value, or why there is none."""
    try:
        return str(calculate(argument))
    except CalculatorError as error:
        return f"refused: {error}"


def take_step(
    trace: Trace, written: str, tools: Mapping[str, Callable[[str], str]], clean: Callable[[str], str] = quoted
):
    """Adds one step to a trace: runs the action if it is one of the tools, says what is allowed if it is not.

    Args:
        tools: name of an action -> function from its argument to a text; "finish" belongs to the loop.
        clean: applied to what a tool answers before the model sees it.
    """
    written = own_words(written)
    action, argument = read_action(written)
    allowed = ", ".join(f"{name}[…]" for name in (*tools, FINISH))
    if action == FINISH:
        trace.answer, trace.end, observation = argument, "finished", "(end)"
    elif action in tools:
        observation = clean(tools[action](argument))
    else:
        observation = f"refused: {action or 'no action'} is not one of {allowed}"
    trace.steps.append(Step(written, action, argument, observation))


def run_agents(
    write: Callable[[list[str]], list[str]],
    questions: Sequence[str],
    tools: Mapping[str, Callable[[str], str]],
    max_steps: int = 6,
    clean: Callable[[str], str] = quoted,
) -> list[Trace]:
    """Runs the loop for many questions side by side, each with its own trace, until all have finished or made
    `max_steps` steps.

    Args:
        write: N prompts -> N texts, such as `helpers.models.generation.generate` with a model.
    Raises:
        ValueError: `max_steps` below 1, or a tool with the loop's own name.
    Source: ReAct, Yao et al. 2023, section 2; actions are read from the model's own words alone, never from an
        observation.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps!r}: it must be at least 1")
    if FINISH in tools:
        raise ValueError(f"tools: {FINISH!r} is the loop's own action; give the tool another name")
    traces = [Trace(question) for question in questions]
    for _ in range(max_steps):
        going = [trace for trace in traces if not trace.end]
        if not going:
            break
        for trace, written in zip(going, write([trace.prompt() for trace in going])):
            take_step(trace, written, tools, clean)
    for trace in traces:
        trace.end = trace.end or f"stopped after {max_steps} steps"
    return traces
