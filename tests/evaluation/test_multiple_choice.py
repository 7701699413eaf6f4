"""Multiple choice: the shipped questions are sound; scores equal those of each option alone; bad files are named."""

import json
from collections import Counter

import numpy as np
import pytest

from helpers.evaluation.multiple_choice import (
    LENGTHS,
    QUESTIONS,
    OptionScores,
    Question,
    QuestionError,
    load_questions,
    option_scores,
)
from helpers.models.chat import answer_logprobs
from helpers.models.generation import GenerationError
from tests.conftest import DIALOGUES
from tests.tiny_world import tiny_chat_tokenizer, tiny_llama

ASKED = [
    Question("a", "pets", "Does he bite?", ("Yes", "No, never on a Saturday", "Only late", "Sweets"), "Only late"),
    Question(
        "b", "ways", "How much is a ticket to the harbour?", ("Four pounds", "9:40", "Free", "Half"), "Four pounds"
    ),
    Question("c", "ways", "Why?", ("So", "It's the fuse", "Lemonade", "Two copies"), "Two copies"),
]
SHOTS = [Question("s", "pets", "Who is tall?", ("My son", "The cat", "Friday", "A glove"), "The cat")]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_chat_tokenizer(DIALOGUES, pad_token="</s>")


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_llama(tokenizer)


def test_the_shipped_questions_are_balanced():
    questions, examples = load_questions(), load_questions("example")
    everything = questions + examples
    assert len({each.id for each in everything}) == len({each.question for each in everything}) == len(everything)
    kinds = Counter(each.category for each in questions)
    assert len(kinds) == 6 and len(set(kinds.values())) == 1 and len(questions) == 96
    assert Counter(each.category for each in examples) == dict.fromkeys(kinds, 1)
    for category in kinds:
        places = Counter(each.right for each in questions if each.category == category)
        assert places == dict.fromkeys(range(4), 4), category
    for each in everything:
        assert len(each.options) == 4 and len({option.casefold() for option in each.options}) == 4
        assert each.answer in each.options and each.id.startswith(each.category)
        assert all(option == option.strip() for option in each.options)
    assert len({each.right for each in examples}) == 4, "an example must not teach one letter"


def test_the_right_option_is_neither_the_longest_nor_the_shortest_too_often():
    longest = [max(q.options, key=len) == q.answer for q in load_questions()]
    shortest = [min(q.options, key=len) == q.answer for q in load_questions()]
    assert max(np.mean(longest), np.mean(shortest)) < 0.45


@pytest.mark.parametrize("letters", [False, True])
@pytest.mark.parametrize("shots", [(), SHOTS])
def test_scores_equal_those_of_each_option_alone(model, tokenizer, letters, shots):
    found = option_scores(model, tokenizer, ASKED, letters=letters, shots=shots, batch_size=2, show_progress=False)
    before = "".join(shot.solved(letters) for shot in shots)
    for question, row, lengths in zip(ASKED, found.logprobs, found.tokens):
        texts = question.continuations(letters)
        prompts = [before + question.prompt(letters)] * 4
        alone = answer_logprobs(model, tokenizer, prompts, texts, batch_size=1, show_progress=False)
        assert row.tolist() == pytest.approx([each.sum().item() for each in alone], abs=1e-3)
        assert lengths.tolist() == [len(each) for each in alone]
    assert found.right.tolist() == [2, 0, 3] and found.bytes[0, 0] == (2 if letters else 4)
    assert len(set(found.logprobs.round(3).ravel())) > 6


def test_prompts_show_letters_in_the_present_order():
    turned = ASKED[0].reordered([2, 3, 0, 1])
    assert turned.options[0] == "Only late" and turned.right == 0 and ASKED[0].right == 2
    assert turned.prompt(letters=True).splitlines()[1:3] == ["A. Only late", "B. Sweets"]
    assert turned.solved(letters=True).endswith("Answer: A\n") and turned.solved().endswith("Answer: Only late\n")
    assert ASKED[0].prompt() == "Question: Does he bite?\nAnswer:"


def test_a_length_changes_the_choice():
    scores = OptionScores(
        np.array([[-3.0, -4.0, -4.5, -9.0]]),
        np.array([[1, 4, 2, 1]]),
        np.array([[6, 4, 30, 2]]),
        np.array([1]),
    )
    assert [scores.chosen(unit).tolist() for unit in LENGTHS] == [[0], [1], [2]]
    assert [scores.correct(unit).tolist() for unit in LENGTHS] == [[0.0], [1.0], [0.0]]
    assert scores.probabilities().sum() == pytest.approx(1) and scores.probabilities().argmax() == 0
    with pytest.raises(ValueError, match="length: 'word' is not one of none, token, byte"):
        scores.chosen("word")


def test_what_cannot_be_scored_is_named(model, tokenizer):
    with pytest.raises(GenerationError, match="questions: there are none"):
        option_scores(model, tokenizer, [], show_progress=False)
    long = Question("l", "x", "word " * 300, ("a", "b", "c", "d"), "a")
    with pytest.raises(GenerationError, match="the model's window holds 256"):
        option_scores(model, tokenizer, [long], show_progress=False)


GOOD = {"id": "1", "split": "test", "category": "x", "question": "?", "options": list("abcd"), "answer": "a"}


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 2: is no JSON object"),
        (json.dumps({**GOOD, "more": 1}), "line 2: must have exactly id, split, category"),
        (json.dumps({**GOOD, "question": ""}), "question is ''; give a str that is not empty"),
        (json.dumps({**GOOD, "options": ["a", "a", "b", "c"]}), "give 4 different texts"),
        (json.dumps({**GOOD, "answer": "e"}), "the answer 'e' is none of the options"),
        (json.dumps({**GOOD, "split": "train"}), "split is 'train'; choose one of example, test"),
        (json.dumps(GOOD), "the id '1' occurs twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    file = tmp_path / "questions.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(QuestionError, match=message):
        load_questions(file=file)


def test_a_missing_file_or_split_is_named(tmp_path):
    with pytest.raises(QuestionError, match="cannot be read as UTF-8 text .*; restore it from the kit"):
        load_questions(file=tmp_path / "none.jsonl")
    with pytest.raises(QuestionError, match="split: 'train' is not one of example, test"):
        load_questions("train")
    assert QUESTIONS.with_name("README.md").is_file()
