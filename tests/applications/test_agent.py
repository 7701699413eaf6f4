"""The agent's loop: allowed actions are run, everything else is refused and said, and it always ends."""

import json
import re

import pytest
from hypothesis import given, strategies as st

from helpers.applications.agent import (
    ARITHMETIC,
    FINISH,
    LONGEST,
    ActionError,
    Tool,
    Trace,
    action_schema,
    action_text,
    calculator_tool,
    phrases,
    quoted,
    read_action,
    run_agents,
    take_step,
)

TOOLS = {"search": Tool(lambda name: f"The {name} costs 7 pounds."), "calculate": Tool(calculator_tool, ARITHMETIC)}


def scripted(*texts):
    """A model that writes these texts in turn, whatever it reads; what it read is kept."""
    read = []

    def write(prompts):
        read.append(list(prompts))
        return [texts[len(read) - 1]] * len(prompts)

    return write, read


def test_a_trace_from_question_to_answer():
    actions = [action_text("a", "search", "red lamp"), action_text("b", "calculate", "2 * 7")]
    write, read = scripted(*actions, action_text("c", FINISH, "14 pounds"))
    (trace,) = run_agents(write, ["What do 2 cost?"], TOOLS)
    assert (trace.answer, trace.end) == ("14 pounds", "finished")
    assert [step.observation for step in trace.steps[:2]] == ["The red lamp costs 7 pounds.", "14"]
    assert read[1] == [
        f"Question: What do 2 cost?\nAction: {actions[0]}\nObservation: The red lamp costs 7 pounds.\nAction:"
    ]
    assert trace.rows()[0] == ("1", "a", "search: red lamp", "The red lamp costs 7 pounds.")


def test_questions_go_on_side_by_side_until_each_has_finished():
    def write(prompts):
        ready = ["short" in prompt or "Observation" in prompt for prompt in prompts]
        return [action_text("", FINISH, "1") if done else action_text("", "search", "x") for done in ready]

    short, long = run_agents(write, ["short", "long"], TOOLS)
    assert (len(short.steps), len(long.steps)) == (1, 2) and short.answer == long.answer == "1"


def test_the_loop_ends_after_its_steps_and_refuses_what_cannot_work():
    write, read = scripted(*[action_text("", "search", "x")] * 3)
    (trace,) = run_agents(write, ["?"], TOOLS, max_steps=3)
    assert (trace.answer, trace.end, len(trace.steps), len(read)) == (None, "stopped after 3 steps", 3, 3)
    with pytest.raises(ValueError, match="max_steps=0"):
        run_agents(write, ["?"], TOOLS, max_steps=0)
    with pytest.raises(ValueError, match=r"questions\[1\]: ' ' is empty"):
        run_agents(write, ["?", " "], TOOLS)
    with pytest.raises(ValueError, match="the loop's own action"):
        run_agents(write, ["?"], TOOLS | {FINISH: Tool(str)})


@pytest.mark.parametrize(
    "written",
    [
        action_text("tidy", "delete", "everything"),
        action_text("", "calculate", "exit()"),
        action_text("", "search", ""),
        action_text("", "search", "x" * 500),
        '{"action": "search", "input": "x"}',
        '{"thought": "", "action": "search", "input": "x", "more": 1}',
        '{"thought": "", "action": ["search"], "input": "x"}',
        "[1, 2]",
        "Action: search[x]",
        "",
        "[" * 100_000,
    ],
)
def test_what_is_not_allowed_is_refused_and_runs_nothing(written):
    ran = []
    tools = {"search": Tool(ran.append), "calculate": Tool(ran.append, ARITHMETIC)}
    trace = Trace("?")
    take_step(trace, written, tools)
    assert not ran and trace.answer is None and not trace.end
    assert trace.steps[0].observation.startswith("refused: ")


@given(st.text())
def test_no_text_breaks_the_loop(written):
    trace = Trace("?")
    take_step(trace, written, TOOLS)
    assert len(trace.steps) == 1 and "\n" not in trace.steps[0].written
    try:
        assert read_action(written, TOOLS)
    except ActionError as error:
        assert str(error)


@given(st.text())
def test_observations_have_one_line_and_no_marks(text):
    found = quoted(text)
    assert len(found) <= LONGEST and len(found.splitlines()) <= 1
    assert not re.search(r"\b(thought|action|observation|question)\s*:", found, re.IGNORECASE)


def test_the_schema_has_one_form_for_each_action():
    forms = action_schema(TOOLS)["anyOf"]
    assert [form["properties"]["action"]["const"] for form in forms] == ["search", "calculate", FINISH]
    assert all(form["additionalProperties"] is False for form in forms)
    assert json.loads(action_text("a", "b", "ü"))["input"] == "ü"


def test_choices_take_the_place_of_a_pattern():
    search, calculate, finish = action_schema(TOOLS, {"search": ["red lamp"], FINISH: []})["anyOf"]
    assert search["properties"]["input"] == {"enum": ["red lamp"]}
    assert "pattern" in calculate["properties"]["input"] and "pattern" in finish["properties"]["input"]


def test_phrases_are_runs_of_words_that_an_action_may_have():
    assert phrases("Is <b> the lamp red, or the lamp?", 2) == [
        *("Is", "the", "lamp", "red", "or"),
        *("Is the", "the lamp", "lamp red", "red or", "or the"),
    ]
    assert phrases("", 3) == []
    assert all(read_action(action_text("", "search", phrase), TOOLS) for phrase in phrases("It opens at 9:40."))


def test_the_calculator_says_why_it_refuses():
    assert calculator_tool("2 * 7") == "14" and calculator_tool("exit()").startswith("refused: ")
