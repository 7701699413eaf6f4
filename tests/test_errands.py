"""Errands: what a perfect agent writes reaches the answer through the real loop; each step is a pair."""

import random

import pytest

from helpers.applications.agent import calculator_tool, run_agents
from helpers.applications.catalogue import KINDS, draw_names, make_catalogue, make_errand, make_errands, step_pairs

PRODUCTS = make_catalogue(draw_names(30, 1), 2)
SEARCH = {product.name: product.sheet() for product in PRODUCTS}.get


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_every_kind_reach_the_answer(kind):
    for seed in range(20):
        errand = make_errand(kind, PRODUCTS, random.Random(seed))
        steps = iter(errand.steps)
        (trace,) = run_agents(lambda prompts: [next(steps)], [errand.question], {"search": SEARCH, "calculate": calculator_tool})  # noqa: B023
        assert trace.answer == errand.answer and len(trace.steps) == len(errand.steps) and errand.kind == kind
        assert not any("refused" in step.observation for step in trace.steps)
        assert all(product.name in errand.question for product in errand.products)


def test_pairs_hold_what_came_before_and_what_comes_next():
    errands = make_errands(6, PRODUCTS, 1)
    prompts, completions = step_pairs(errands, SEARCH)
    assert len(prompts) == len(completions) == sum(len(errand.steps) for errand in errands)
    assert prompts[0] == f"Question: {errands[0].question}" and completions[0] == errands[0].steps[0]
    assert prompts[1].startswith(f"{prompts[0]}\n{completions[0]}\nObservation: ") and [errand.kind for errand in errands] == [*KINDS, *KINDS, *KINDS]
    assert make_errands(6, PRODUCTS, 1) == errands != make_errands(6, PRODUCTS, 2)


def test_unknown_kinds_and_empty_shops_are_named():
    with pytest.raises(ValueError, match="kind: 'theft' is not one of place, together"):
        make_errand("theft", PRODUCTS, random.Random(1))
    with pytest.raises(ValueError, match="products: 1 of them"):
        make_errand("place", PRODUCTS[:1], random.Random(1))
