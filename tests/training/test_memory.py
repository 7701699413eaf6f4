"""Memory of training: what tensors really hold is what the arithmetic says; activations grow with the batch."""

import copy

import pytest
import torch
from hypothesis import given, strategies as st

from helpers.models.sizes import count_parameters
from helpers.training.memory import (
    RECIPES,
    STRATEGIES,
    Activations,
    activation_bytes,
    decoder_units,
    expected,
    gathered,
    held,
    local_bytes,
    sent,
    training_step,
)


@pytest.fixture
def batch(tiny_tokenizer, dialogues, summaries):
    """Four rows of one length."""
    rows = tiny_tokenizer(dialogues[:4], return_tensors="pt", padding=True)
    return {
        "input_ids": rows["input_ids"],
        "attention_mask": rows["attention_mask"],
        "labels": tiny_tokenizer(summaries[:4], return_tensors="pt", padding=True)["input_ids"],
    }


def test_a_real_step_holds_what_is_expected_and_leaves_the_model(tiny_model, batch):
    before = copy.deepcopy(tiny_model.state_dict())
    step = training_step(tiny_model, batch)
    assert step.held == expected(count_parameters(tiny_model).total) and step.activations > 0 and step.peak >= 0
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model.state_dict().items())


def test_frozen_weights_need_neither_gradient_nor_states(tiny_model):
    model = copy.deepcopy(tiny_model).requires_grad_(False)
    model.shared.weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[3, 4]]), labels=torch.tensor([[5, 1]])).loss.backward()
    optimizer.step()
    assert held(model, optimizer)[1:] == (local_bytes(model.shared.weight), 2 * local_bytes(model.shared.weight))


def test_activations_grow_with_the_rows(tiny_model, batch):
    half = activation_bytes(tiny_model, {name: values[:2] for name, values in batch.items()})
    assert activation_bytes(tiny_model, batch) == pytest.approx(2 * half, rel=0.1)


def test_activations_are_counted_once_and_weights_not_at_all():
    layer = torch.nn.Linear(3, 3, bias=False)
    x = torch.ones(2, 3)
    with Activations(layer) as found:
        y = layer(x)
        (y * y).sum()
    assert found.total == x.nbytes + y.nbytes  # x for the weight's gradient, y twice for the square


def test_each_stage_divides_one_more():
    whole = expected(1000, processes=4)
    assert whole == (4000, 4000, 8000)
    assert [expected(1000, strategy=way, processes=4) for way in STRATEGIES[1:]] == [
        (4000, 4000, 2000),
        (4000, 1000, 2000),
        (1000, 1000, 2000),
    ]


@given(st.integers(1, 10**10), st.integers(1, 512), st.sampled_from(sorted(RECIPES)))
def test_more_sharing_never_costs_memory_and_one_process_shares_nothing(parameters, processes, recipe):
    totals = [expected(parameters, recipe, way, processes).total for way in STRATEGIES]
    assert totals == sorted(totals, reverse=True)
    assert len({expected(parameters, recipe, way, 1) for way in STRATEGIES}) == 1
    assert (
        sent(parameters, 1) == 0
        and sent(parameters, processes) <= 8 * parameters
        and sent(parameters, processes, "fsdp") <= 12 * parameters
    )


@pytest.mark.parametrize(("billions", "layers", "width"), [(6.7, 32, 4096), (13.0, 40, 5120), (65.2, 80, 8192)])
def test_units_are_near_those_of_published_decoders(billions, layers, width):
    """LLaMA's table 2; its widest decoder is deeper than its width says."""
    outside, block = decoder_units(round(billions * 1e9))
    assert (billions * 1e9 - outside) / block == pytest.approx(layers, rel=0.15)
    assert outside == pytest.approx(2 * 32_000 * width, rel=0.15) and block == pytest.approx(12 * width**2, rel=0.3)


@given(st.integers(10**8, 10**11), st.integers(2, 512), st.sampled_from(sorted(RECIPES)))
def test_whole_weights_and_gradients_come_on_top_of_divided_ones_alone(parameters, processes, recipe):
    whole = {way: gathered(parameters, recipe, way, processes) for way in STRATEGIES}
    assert whole["ddp"] == whole["zero-1"] == 0 < whole["zero-2"] < whole["fsdp"]
    assert {gathered(parameters, recipe, way, 1) for way in STRATEGIES} == {0}
    (outside, block), (weight, gradient, _) = decoder_units(parameters), RECIPES[recipe]
    assert whole["fsdp"] - whole["zero-2"] == pytest.approx(weight * (outside + 2 * block), abs=1)
    kept = expected(parameters, recipe, "zero-2", processes).gradients
    assert whole["zero-2"] + kept <= gradient * parameters + 2


def test_what_is_whole_depends_no_more_on_the_number_of_processes():
    assert gathered(7 * 10**9, strategy="fsdp", processes=8) == gathered(7 * 10**9, strategy="fsdp", processes=64)


def test_what_is_unknown_is_named():
    with pytest.raises(ValueError, match="recipe: 'SGD' is not one of float32, Adam"):
        expected(1, "SGD")
    with pytest.raises(ValueError, match="strategy: 'zero-4' is not one of ddp"):
        expected(1, strategy="zero-4")
    with pytest.raises(ValueError, match="processes: 0 is less than 1"):
        expected(1, processes=0)
