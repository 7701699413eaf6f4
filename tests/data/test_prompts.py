import pytest
from hypothesis import given, strategies as st

from helpers.data.prompts import SEPARATOR, TASKS, TEMPLATES, build_prompt, build_task, fit_prompt
from helpers.models.generation import encode_prompts


def by_words(text, verbose=True):
    """A tokenizer for which a word is a token."""
    return {"input_ids": [*text.split(), "</s>"]}


EXAMPLES = [
    {"dialogue": "A: one", "summary": "First."},
    ("B: two", "Second."),
    {"dialogue": "C: three", "summary": "Third."},
]
ONE_LINE = st.text("abc #:", min_size=1, max_size=20).filter(str.strip)


@pytest.mark.parametrize("template", TEMPLATES)
def test_zero_shot_is_the_template_around_the_dialogue(template):
    assert build_prompt(" A: hello \n", template=template) == TEMPLATES[template].format(dialogue="A: hello")


def test_no_instruction_is_the_bare_dialogue():
    assert build_prompt("A: hello", template="none") == "A: hello"


def test_examples_stand_solved_in_their_order_before_the_dialogue():
    parts = build_prompt("D: four", EXAMPLES).split(SEPARATOR)
    assert len(parts) == 4 and parts[3] == build_prompt("D: four")
    assert [part.endswith(f"Summary: {word}.") for part, word in zip(parts, ("First", "Second", "Third"))] == [True] * 3
    assert "A: one" in parts[0] and "B: two" in parts[1]


@given(dialogue=ONE_LINE, count=st.integers(0, 3), template=st.sampled_from(sorted(TEMPLATES)))
def test_a_prompt_ends_with_the_unsolved_dialogue(dialogue, count, template):
    assert build_prompt(dialogue, EXAMPLES[:count], template).endswith(build_prompt(dialogue, template=template))


def test_braces_in_a_dialogue_are_text():
    assert "{x} {dialogue}" in build_prompt("A: {x} {dialogue}", [("B: {0}", "{summary}")])


@given(budget=st.integers(9, 60))
def test_what_does_not_fit_is_dropped_whole_and_reported(budget):
    fitted = fit_prompt("D: four", EXAMPLES, by_words, budget)
    assert fitted.tokens == len(by_words(fitted.text)["input_ids"]) <= budget
    assert fitted.dropped + fitted.kept == (0, 1, 2)
    assert fitted.text == build_prompt("D: four", [EXAMPLES[place] for place in fitted.kept])
    if fitted.dropped:
        assert len(by_words(build_prompt("D: four", EXAMPLES[fitted.dropped[-1] :]))["input_ids"]) > budget


def test_the_tokenizers_own_window_counts_where_it_is_smaller(tiny_tokenizer):
    examples = [(f"Is it {number}?", "It is so.") for number in range(9)]
    fitted = fit_prompt("Is it late?", examples, tiny_tokenizer, 1024)
    assert fitted.tokens <= tiny_tokenizer.model_max_length == 128 and fitted.dropped and fitted.kept
    assert encode_prompts(tiny_tokenizer, [fitted.text])


def test_a_dialogue_that_does_not_fit_is_never_cut():
    with pytest.raises(ValueError, match="dialogue alone takes 8 tokens.*window holds 7"):
        fit_prompt("D: four", EXAMPLES, by_words, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_prompt("A: x", template="tl"), "template: 'tl' is not one of conversation"),
        (lambda: build_prompt("  "), "dialogue: '  ' is empty"),
        (lambda: build_prompt("A: hi \ud83d"), r"dialogue: 'A: hi \\ud83d' holds half a character .*; write"),
        (lambda: fit_prompt("A: hi \ud83d", [], None, 9), "dialogue: .* holds half a character"),
        (lambda: build_prompt("A: hi", [("B: ho", "\ud83d")]), r"examples\[0\] summary: .* holds half a character"),
        (lambda: build_prompt("A: x", [("B: y", "z"), ("", "z")]), r"examples\[1\] dialogue"),
        (lambda: build_prompt("A: x", [("B: y", " ")]), r"examples\[0\] summary"),
        (lambda: build_task("sum", "A: x"), "task: 'sum' is not one of"),
        (lambda: build_task("question", "A: x"), "needs the field 'question'"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("task", TASKS)
def test_tasks_hold_dialogue_and_fields(task):
    prompt = build_task(task, "A: hello", question="Who?", line="hello")
    assert prompt.startswith("A: hello\n\n") and ("Who?" in prompt) == (task == "question")
