"""The catalogue: facts that names do not tell, sheets that say them, questions whose answers stand in them."""

import pytest

from helpers.applications.catalogue import (
    NAMES,
    PLACES,
    PRICES,
    changed,
    closed_prompt,
    draw_names,
    make_catalogue,
    open_prompt,
    questions_about,
    reading_pairs,
    sheets,
)


def test_names_are_drawn_once_and_leave_others_out():
    first = draw_names(50, 1)
    assert len(set(first)) == 50 and first == draw_names(50, 1) and not set(first) & set(draw_names(200, 1, without=first))
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
    assert not {question.text for question in questions_about(products, 0)} & {question.text for question in questions_about(products, 1)}


def test_prompts_hold_the_documents_above_the_question():
    assert open_prompt("Where?", []) == closed_prompt("Where?") == "Question: Where?\nAnswer:"
    assert open_prompt("Where?", ["Here.", "There."]) == "Here.\nThere.\n\nQuestion: Where?\nAnswer:"


def test_reading_pairs_hold_the_right_sheet_among_others():
    products = make_catalogue(draw_names(10, 1), 2)
    prompts, completions = reading_pairs(products, 60, 5)
    assert (prompts, completions) == reading_pairs(products, 60, 5) and len(prompts) == 60
    assert all(completion in prompt for prompt, completion in zip(prompts, completions))
    assert {prompt.count(" costs ") for prompt in prompts} == {1, 2, 3}
