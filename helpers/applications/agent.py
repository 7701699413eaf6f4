"""An agent: a model that writes actions as JSON, a loop that carries them out and writes down what came of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from helpers.applications.calculator import CalculatorError, calculate

FINISH = "finish"
ARITHMETIC = "[0-9][0-9 +*/()-]{0,30}"
WORDS = r"[A-Za-z0-9][A-Za-z0-9 .,:-]{0,40}"
MARKS = re.compile(r"\b(Thought|Action|Observation|Question)\s*:", re.IGNORECASE)
LONGEST = 300  # characters of an observation, and of a thought


class ActionError(ValueError):
    """A text that is no allowed action; the message says why, and is what the model reads next."""


@dataclass(frozen=True)
class Tool:
    """Something that an agent may do: `run` takes the action's input and gives a text; `input` is a pattern for it."""

    run: Callable[[str], str]
    input: str = WORDS


@dataclass(frozen=True)
class Step:
    """What the model wrote, the action read from it ("" where there is none), its input, and the loop's answer."""

    written: str
    thought: str
    action: str
    input: str
    observation: str

    def lines(self) -> str:
        """The step as the next prompt shows it."""
        return f"Action: {self.written}\nObservation: {self.observation}"


@dataclass
class Trace:
    """One question and the steps so far.

    Attributes:
        answer: the input of finish, None while there is none; end: why the loop stopped, "" while it goes on.
    """

    question: str
    steps: list[Step] = field(default_factory=list)
    answer: str | None = None
    end: str = ""

    def prompt(self) -> str:
        """What the model reads before its next step: the question and all steps so far."""
        return "\n".join([f"Question: {self.question}", *(step.lines() for step in self.steps), "Action:"])

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(number, thought, action, observation) of each step, for a table."""
        return [
            (
                str(number),
                step.thought,
                f"{step.action}: {step.input}" if step.action else step.written,
                step.observation,
            )
            for number, step in enumerate(self.steps, 1)
        ]


def action_text(thought: str, action: str, text: str) -> str:
    """An action as the model should write it."""
    return json.dumps({"thought": thought, "action": action, "input": text}, ensure_ascii=False)


def action_schema(tools: Mapping[str, Tool], choices: Mapping[str, Sequence[str]] | None = None) -> dict:
    """The JSON schema of the allowed actions: a thought, the name of a tool, an input of its pattern; or finish.

    Args:
        choices: name of an action -> the inputs that it may have now, in place of its pattern.
    """

    def one(name, pattern):
        given = (choices or {}).get(name)
        properties = {
            "thought": {"type": "string", "pattern": "^[A-Za-z0-9 .,:]{1,60}$"},
            "action": {"const": name},
            "input": {"enum": list(given)} if given else {"type": "string", "pattern": f"^{pattern}$"},
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    return {"anyOf": [*(one(name, tool.input) for name, tool in tools.items()), one(FINISH, WORDS)]}


def phrases(text: str, longest: int = 3) -> list[str]:
    """All runs of one to `longest` words of a text, full stops and question marks left out, none of them twice."""
    words = [word for word in (part.strip(".,;?!") for part in text.split()) if re.fullmatch(WORDS, word)]
    runs = [" ".join(words[at : at + size]) for size in range(1, longest + 1) for at in range(len(words) - size + 1)]
    return list(dict.fromkeys(runs))


def read_action(written: str, tools: Mapping[str, Tool]) -> tuple[str, str, str]:
    """(thought, action, input) of a text, if it is one JSON object that `action_schema` allows.

    Raises:
        ActionError: it is not; nothing was run.
    """
    allowed = ", ".join((*tools, FINISH))
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        raise ActionError(f"no JSON; write one object with thought, action ({allowed}) and input") from None
    if not isinstance(found, dict) or set(found) != {"thought", "action", "input"}:
        raise ActionError("write one object with exactly thought, action and input")
    if not all(isinstance(value, str) for value in found.values()):
        raise ActionError("thought, action and input must be texts")
    if found["action"] not in (*tools, FINISH):
        raise ActionError(f"{found['action'][:40]!r} is not one of {allowed}")
    pattern = WORDS if found["action"] == FINISH else tools[found["action"]].input
    if not re.fullmatch(pattern, found["input"]):
        raise ActionError(f"{found['input'][:40]!r} is no input for {found['action']}")
    return found["thought"][:LONGEST], found["action"], found["input"]


def quoted(text: str) -> str:
    """A document as an observation: one line, at most `LONGEST` characters, and none of the words with which the loop
    marks its own lines.
    """
    return MARKS.sub(r"(\1)", " ".join(text.split()))[:LONGEST]


def calculator_tool(program: str) -> str:
    """What the calculator answers: the value, or why there is none."""
    try:
        return str(calculate(program))
    except CalculatorError as error:
        return f"refused: {error}"


def take_step(trace: Trace, written: str, tools: Mapping[str, Tool], clean: Callable[[str], str] = quoted) -> None:
    """Adds one step to a trace: runs the action if it is allowed, says what is allowed if it is not.

    Args:
        clean: applied to what a tool answers before the model sees it.
    """
    thought = action = text = ""
    try:
        thought, action, text = read_action(written, tools)
    except ActionError as error:
        observation = f"refused: {error}"
    else:
        observation = "(end)" if action == FINISH else clean(tools[action].run(text))
    if action == FINISH:
        trace.answer, trace.end = text, "finished"
    trace.steps.append(Step(quoted(written), thought, action, text, observation))


def run_agents(
    write: Callable[[list[str]], list[str]],
    questions: Sequence[str],
    tools: Mapping[str, Tool],
    max_steps: int = 5,
    clean: Callable[[str], str] = quoted,
) -> list[Trace]:
    """Runs the loop for many questions side by side, each with its own trace, until all have finished or made
    `max_steps` steps.

    Args:
        write: N prompts -> N texts, such as `generate_matching` with a model and the schema of the tools.
    Raises:
        ValueError: `max_steps` below 1, an empty question, or a tool with the loop's own name.
    Source: ReAct, Yao et al. 2023, section 2, with actions as JSON.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps!r}: it must be at least 1")
    if FINISH in tools:
        raise ValueError(f"tools: {FINISH!r} is the loop's own action; give the tool another name")
    for index, question in enumerate(questions):
        if not question.strip():
            raise ValueError(f"questions[{index}]: {question!r} is empty; ask something")
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
