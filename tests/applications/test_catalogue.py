"""The catalogue: facts that names do not tell, sheets that say them, questions whose answers stand in them.

Errands: what a perfect agent writes reaches the answer through the real loop; each step is a pair.
"""

import random

import pytest

from helpers.applications.agent import calculator_tool, run_agents
from helpers.applications.catalogue import (
    KINDS,
    NAMES,
    PLACES,
    PRICES,
    changed,
    closed_prompt,
    draw_names,
    make_catalogue,
    make_errand,
    make_errands,
    open_prompt,
    questions_about,
    reading_pairs,
    sheets,
    step_pairs,
)


def test_names_are_drawn_once_and_leave_others_out():
    first = draw_names(50, 1)
    assert (
        len(set(first)) == 50 and first == draw_names(50, 1) and not set(first) & set(draw_names(200, 1, without=first))
    )
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("count", [0, -1, len(NAMES) + 1])
def test_names_end_some_time(count):
    with pytest.raises(ValueError, match=f"count: {count} names are wanted, {len(NAMES)} are free"):
        draw_names(count, 1)


def test_facts_come_from_their_lists_and_every_one_of_them_changes():
    old = make_catalogue(draw_names(80, 1), 2)
    new = changed(old, 3)
    assert all(product.price in PRICES and product.place in PLACES for product in (*old, *new))
    assert [product.name for product in old] == [product.name for product in new]
    assert all(before.price != after.price and before.place != after.place for before, after in zip(old, new))


def test_every_answer_stands_in_the_sheet_of_its_product_and_neighbours_are_others():
    products = make_catalogue(draw_names(30, 1), 2)
    papers = dict(zip(products, sheets(products, 4)))
    for question in questions_about(products):
        assert question.answer in papers[question.product] and question.product.name in question.text
    for product, paper in papers.items():
        assert sum(other.name in paper for other in products) == 2 and product.sheet() in paper
    assert sheets(products[:1], 1) == [products[0].sheet()]


def test_wordings_can_be_chosen():
    products = make_catalogue(draw_names(3, 1), 2)
    assert len(questions_about(products)) == 2 * len(questions_about(products, wording=0)) == 12
    assert not {question.text for question in questions_about(products, 0)} & {
        question.text for question in questions_about(products, 1)
    }


def test_prompts_hold_the_documents_above_the_question():
    assert open_prompt("Where?", []) == closed_prompt("Where?") == "Question: Where?\nAnswer:"
    assert open_prompt("Where?", ["Here.", "There."]) == "Here.\nThere.\n\nQuestion: Where?\nAnswer:"


def test_reading_pairs_hold_the_right_sheet_among_others():
    products = make_catalogue(draw_names(10, 1), 2)
    prompts, completions = reading_pairs(products, 60, 5)
    assert (prompts, completions) == reading_pairs(products, 60, 5) and len(prompts) == 60
    assert all(completion in prompt for prompt, completion in zip(prompts, completions))
    assert {prompt.count(" costs ") for prompt in prompts} == {1, 2, 3}


PRODUCTS = make_catalogue(draw_names(30, 1), 2)
SEARCH = {product.name: product.sheet() for product in PRODUCTS}.get


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_every_kind_reach_the_answer(kind):
    for seed in range(20):
        errand = make_errand(kind, PRODUCTS, random.Random(seed))
        steps = iter(errand.steps)
        (trace,) = run_agents(
            lambda prompts, steps=steps: [next(steps)],
            [errand.question],
            {"search": SEARCH, "calculate": calculator_tool},
        )
        assert trace.answer == errand.answer and len(trace.steps) == len(errand.steps) and errand.kind == kind
        assert not any("refused" in step.observation for step in trace.steps)
        assert all(product.name in errand.question for product in errand.products)


def test_pairs_hold_what_came_before_and_what_comes_next():
    errands = make_errands(6, PRODUCTS, 1)
    prompts, completions = step_pairs(errands, SEARCH)
    assert len(prompts) == len(completions) == sum(len(errand.steps) for errand in errands)
    assert prompts[0] == f"Question: {errands[0].question}" and completions[0] == errands[0].steps[0]
    assert prompts[1].startswith(f"{prompts[0]}\n{completions[0]}\nObservation: ") and [
        errand.kind for errand in errands
    ] == [*KINDS, *KINDS, *KINDS]
    assert make_errands(6, PRODUCTS, 1) == errands != make_errands(6, PRODUCTS, 2)


def test_unknown_kinds_and_empty_shops_are_named():
    with pytest.raises(ValueError, match="kind: 'theft' is not one of place, together"):
        make_errand("theft", PRODUCTS, random.Random(1))
    with pytest.raises(ValueError, match="products: 1 of them"):
        make_errand("place", PRODUCTS[:1], random.Random(1))
