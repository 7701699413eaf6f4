"""Reasoning that can be checked: what the rule says of solutions, numbers in one piece, pass@k and all draws, votes,
a tiny decoder taught and reinforced.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from helpers.applications.reasoner import (
    IGNORED,
    PRICES,
    arithmetic_texts,
    encoded,
    new_reasoner,
    question,
    teach,
    word_tokenizer,
    worked_examples,
)
from helpers.applications.reinforcement import METRICS, reinforce
from helpers.applications.solutions import check_solution, majority, pass_at_k, solve
from helpers.applications.word_problems import make_problems

PROBLEMS = make_problems(40, seed=3, prices=PRICES)


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(question(problem) for problem in PROBLEMS)


@pytest.fixture(scope="module")
def model(tokenizer):
    """Taught for a moment: it writes something, seldom anything right."""
    found = new_reasoner(tokenizer, seed=1)
    teach(found, tokenizer, worked_examples(PROBLEMS, 1), 30, 4e-3, seed=1)
    return found


def test_steps_of_the_kit_have_the_form_and_are_right():
    for problem in PROBLEMS:
        checked = check_solution(problem.completion("steps"), problem)
        assert checked.form and checked.calculated and checked.right
        direct = check_solution(problem.completion("answer"), problem)
        assert direct.right and not direct.form


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("3 * 4 = 12 , 12 + 5 = 17", (True, True, True)),
        ("3 * 4 = 12, 12 + 5 = 17", (True, True, True)),
        ("3 * 4 = 13, 13 + 4 = 17", (True, False, True)),  # a wrong step, and a right result all the same
        ("3 * 4 = 12, 12 + 5 = 18", (True, False, False)),
        ("1 + 1 = 2", (True, True, False)),  # form and arithmetic without an answer: what a careless reward pays for
        ("The answer is 17", (False, False, True)),
        ("3 * 4 = 12, 12 + 5 =", (False, False, False)),
        ("3 / 0 = 17", (False, False, True)),
        ("", (False, False, False)),
    ],
)
def test_what_the_rule_says(completion, wanted):
    problem = next(each for each in make_problems(4000, seed=1) if each.answer == 17)
    checked = check_solution(completion, problem)
    assert (checked.form, checked.calculated, checked.right) == wanted


def test_numbers_come_back_in_one_piece(tokenizer):
    for problem in PROBLEMS:
        ids = tokenizer(problem.completion("steps"))["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert check_solution(tokenizer.decode(ids), problem).right
    assert tokenizer.convert_ids_to_tokens(tokenizer("120")["input_ids"]) == ["1", "##2", "##0"]
    assert tokenizer.padding_side == "left" and tokenizer.pad_token_id == 0
    assert tokenizer("a zebra")["input_ids"][1] == tokenizer.unk_token_id


def test_a_share_of_the_writers_show_their_steps():
    problems = make_problems(400, seed=5, prices=PRICES)
    shown = ["=" in solution for _, solution in worked_examples(problems, 1, 0.5)]
    assert 0.4 < np.mean(shown) < 0.6 and shown != [
        "=" in solution for _, solution in worked_examples(problems, 2, 0.5)
    ]
    assert all("=" in solution for _, solution in worked_examples(problems, 1, 1.0))
    for _, text in arithmetic_texts(20, 1):
        assert check_solution(text, problems[0]).calculated and text.count("=") == 5


def test_the_loss_counts_completions_alone(tokenizer):
    ((ids, labels),) = encoded([("Anna buys 3", "3 * 4 = 12")], tokenizer)
    assert labels[:3] == [IGNORED] * 3 and labels[3:] == ids[3:] and ids[-1] == tokenizer.eos_token_id
    ((ids, labels),) = encoded([("", "3 * 4 = 12")], tokenizer)
    assert labels == ids


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_all_choices(right, k):
    if k > len(right):
        with pytest.raises(ValueError, match=f"k: {k} is not from 1 to {len(right)}"):
            pass_at_k([right], k)
        return
    choices = list(itertools.combinations(right, k))
    assert pass_at_k([right], k)[0] == pytest.approx(np.mean([any(choice) for choice in choices]))


def test_the_majority():
    assert majority([4, None, 5, 5, 4]) == 4 and majority([None, 7]) == 7 and majority([None]) is None


def test_a_decoder_is_taught_and_repeats(tokenizer, model):
    again = new_reasoner(tokenizer, seed=1)
    heard = []
    examples = worked_examples(PROBLEMS, 1)
    losses = teach(again, tokenizer, examples, 30, 4e-3, seed=1, listener=lambda *numbers: heard.append(numbers))
    assert losses[-1][1] < 0.7 * losses[0][1] and heard[-1][0] == losses
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters()))
    with pytest.raises(ValueError, match="there are none"):
        teach(again, tokenizer, [], 1, 1e-3, seed=1)


def test_solutions_are_drawn_by_their_seed_and_checked(tokenizer, model):
    asked = [question(problem) for problem in PROBLEMS[:6]]
    one, same, other = (solve(model, tokenizer, PROBLEMS[:6], asked, 4, seed=seed) for seed in (1, 1, 2))
    assert one.texts == same.texts != other.texts and one.right.shape == one.tokens.shape == (6, 4)
    for texts, problem, right, form in zip(one.texts, PROBLEMS, one.right, one.form):
        checked = [check_solution(text, problem) for text in texts]
        assert right.tolist() == [each.right for each in checked] and form.tolist() == [each.form for each in checked]


def test_a_reward_is_followed(tokenizer, model):
    """A reward that any completion can earn: no "=" at all."""
    learner, heard = copy.deepcopy(model), []
    options = {"steps": 12, "group_size": 4, "batch_size": 32, "rate": 2e-3}
    history = reinforce(
        learner, tokenizer, PROBLEMS, lambda text, _: "=" not in text, 1, listener=heard.append, **options
    )
    assert len(history) == 12 and set(history[0]) == set(METRICS) and heard[-1] == history
    rewards = [step["reward"] for step in history]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.1, rewards


@pytest.mark.parametrize("sizes", [{"group_size": 1, "batch_size": 8}, {"group_size": 8, "batch_size": 12}])
def test_groups_are_whole(sizes, tokenizer, model):
    with pytest.raises(ValueError, match="holds whole groups"):
        reinforce(model, tokenizer, PROBLEMS, lambda *_: 0.0, 1, steps=1, **sizes)


def test_a_step_needs_enough_problems(tokenizer, model):
    with pytest.raises(ValueError, match="problems: 3 of them; a step of 16 completions in groups of 4 needs 4"):
        reinforce(model, tokenizer, PROBLEMS[:3], lambda *_: 0.0, 1, steps=1, group_size=4, batch_size=16)


def no_step(text, _):
    """A reward for tests."""
    return "=" not in text


def test_an_interrupted_reinforcement_goes_on(tokenizer, model, tmp_path):
    """Stopped after its checkpoint at step 25, the same call makes the steps that are left, then none; other settings
    begin anew.
    """
    calls = []

    def run(folder, limit=None, **others):
        calls.clear()

        def reward(text, problem):
            calls.append(text)
            if limit and len(calls) > limit:
                raise KeyboardInterrupt
            return no_step(text, problem)

        learner = copy.deepcopy(model)
        options = {"steps": 30, "group_size": 2, "batch_size": 4, "rate": 1e-3, "folder": folder} | others
        return learner, reinforce(learner, tokenizer, PROBLEMS, reward, 1, **options)

    _, history = run(tmp_path / "whole")
    assert len(calls) == 30 * 4
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", limit=27 * 4)
    half = next((tmp_path / "cut").iterdir()) / "checkpoint-26"
    half.mkdir()  # what a crash leaves while a checkpoint is written
    learner, resumed = run(tmp_path / "cut")
    assert len(calls) == 5 * 4 and resumed[:25] == history[:25] and len(resumed) == 30
    again, same = run(tmp_path / "cut")
    assert not calls and same == resumed and again.config.use_cache
    assert all(torch.equal(one, other) for one, other in zip(learner.parameters(), again.parameters()))
    run(tmp_path / "cut", steps=2)
    assert len(calls) == 2 * 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_is_a_finite_number(value, tokenizer, model):
    with pytest.raises(ValueError, match="give a finite number"):
        reinforce(copy.deepcopy(model), tokenizer, PROBLEMS, lambda *_: value, 1, steps=1, group_size=2, batch_size=4)


def test_bad_arguments_are_named(tokenizer, model):
    with pytest.raises(ValueError, match="steps: 0"):
        reinforce(model, tokenizer, PROBLEMS, no_step, 1, steps=0)
    with pytest.raises(ValueError, match="steps: 0"):
        teach(model, tokenizer, [("a", "b")], 0, 1e-3, seed=1)
    with pytest.raises(ValueError, match="no completion"):
        teach(model, tokenizer, [("a", "")], 1, 1e-3, seed=1)
    with pytest.raises(ValueError, match="tokens, the model's window 128"):
        teach(model, tokenizer, [("", "1 " * 200)], 1, 1e-3, seed=1)
    for problems, prompts, draws in ((PROBLEMS[:2], ["a"], 1), ([], [], 1), (PROBLEMS[:1], ["a"], 0)):
        with pytest.raises(ValueError, match="a prompt for each problem"):
            solve(model, tokenizer, problems, prompts, draws, seed=1)
    with pytest.raises(ValueError, match="a row for each problem"):
        pass_at_k([True, False], 1)


@pytest.mark.parametrize("text", ["3 * 4 = \u0661\u0662", "9" * 5000, "3 * 4 = " + "1" * 5000, "-2 + 4 = 2"])
def test_odd_texts_have_no_form(text):
    assert not check_solution(text, PROBLEMS[0]).form
