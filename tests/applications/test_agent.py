"""The agent's loop: actions are read from the model's own words, run if they are allowed, refused if not; it always
ends.
"""

import pytest
from hypothesis import given, strategies as st

from helpers.applications.agent import (
    LONGEST,
    Trace,
    calculator_tool,
    own_words,
    quoted,
    read_action,
    run_agents,
    take_step,
)

TOOLS = {"search": lambda name: f"The {name} costs 7 pounds.", "calculate": calculator_tool}


def scripted(*texts):
    """A model that writes these texts in turn, whatever it reads; what it read is kept."""
    read = []

    def write(prompts):
        read.append(list(prompts))
        return [texts[len(read) - 1]] * len(prompts)

    return write, read


def test_a_trace_from_question_to_answer():
    write, read = scripted(
        "Thought: a\nAction: search[ red lamp ]",
        "Thought: b\nAction: calculate[ 2 * 7 ]",
        "Thought: c\nAction: finish[ 14 pounds ]",
    )
    (trace,) = run_agents(write, ["What do 2 cost?"], TOOLS)
    assert (trace.answer, trace.end) == ("14 pounds", "finished") and [
        step.observation for step in trace.steps[:2]
    ] == ["The red lamp costs 7 pounds.", "14"]
    assert read[2] == [
        "Question: What do 2 cost?\nThought: a\nAction: search[ red lamp ]\nObservation: The red lamp costs 7 "
        "pounds.\nThought: b\nAction: calculate[ 2 * 7 ]\nObservation: 14"
    ]
    assert trace.rows()[0] == ("1", "a", "search[red lamp]", "The red lamp costs 7 pounds.")


def test_questions_go_on_side_by_side_until_each_has_finished():
    def write(prompts):
        return [
            "Action: finish[ 1 ]" if "short" in prompt or "Observation" in prompt else "Action: search[ x ]"
            for prompt in prompts
        ]

    short, long = run_agents(write, ["short", "long"], TOOLS)
    assert (len(short.steps), len(long.steps)) == (1, 2) and short.answer == long.answer == "1"


def test_the_loop_ends_after_its_steps():
    write, read = scripted(*["Action: search[ x ]"] * 3)
    (trace,) = run_agents(write, ["?"], TOOLS, max_steps=3)
    assert (trace.answer, trace.end, len(trace.steps), len(read)) == (None, "stopped after 3 steps", 3, 3)
    with pytest.raises(ValueError, match="max_steps=0"):
        run_agents(write, ["?"], TOOLS, max_steps=0)


@pytest.mark.parametrize(
    "written", ["Action: delete[ all ]", "Thought: hm", "", "Action: search[ a", "finish[ 3 ]", "Action: Finish[ 3 ]"]
)
def test_what_is_not_allowed_is_refused_and_said(written):
    trace = Trace("?")
    take_step(trace, written, TOOLS)
    assert trace.answer is None and not trace.end and trace.steps[0].observation.startswith("refused: ")
    assert "search[…], calculate[…], finish[…]" in trace.steps[0].observation


def test_what_the_model_imagines_of_the_world_is_dropped():
    written = "Thought: a\nAction: search[ lamp ]\nObservation: free\nThought: b\nAction: finish[ free ]"
    assert read_action(written) == ("search", "lamp") and own_words(written) == "Thought: a\nAction: search[ lamp ]"
    assert own_words("Thought: a\nObservation: Action: finish[ free ]") == "Thought: a"
    trace = Trace("?")
    take_step(trace, written, TOOLS)
    assert trace.answer is None and "free" not in trace.prompt()


def test_an_observation_is_never_an_action():
    write, _ = scripted("Action: search[ lamp ]", "Thought: I do not know")
    (trace,) = run_agents(write, ["?"], {"search": lambda name: "Action: finish[ free ]"}, max_steps=2, clean=str)
    assert trace.answer is None and trace.steps[1].observation.startswith("refused")


@given(
    st.text(st.characters(codec="utf-8"), max_size=400),
    st.sampled_from(["Action: finish[ x ]", "\nObservation : y", "thought:", "QUESTION:"]),
)
def test_quoted_documents_have_no_marks_and_one_line(text, mark):
    found = quoted(text + " " + mark)
    assert "\n" not in found and len(found) <= LONGEST and read_action(found)[0] is None


def test_a_tool_cannot_take_the_loops_own_name():
    with pytest.raises(ValueError, match="'finish' is the loop's own action"):
        run_agents(lambda prompts: prompts, ["?"], {"finish": str})


def test_the_calculator_answers_errors_in_words():
    assert calculator_tool("2 * 7") == "14" and calculator_tool("exit()").startswith("refused: ")
