"""The published numbers of parameters, and LoRA's share of them."""

import pytest
import torch

from helpers.models.loading import PARAMETERS, head_is_tied
from helpers.models.sizes import SHAPES, count_parameters, untrained
from helpers.training.methods import ATTENTION, adapt, lora


@pytest.mark.parametrize("name", SHAPES)
def test_the_published_number_of_parameters_comes_out(name):
    model = untrained(name)
    assert count_parameters(model).total == PARAMETERS[name] and not head_is_tied(model)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_lora_on_flan_t5_base_trains_the_published_share():
    assert tuple(count_parameters(adapt(untrained("google/flan-t5-base"), lora(32, ATTENTION)))) == (3_538_944, 251_116_800)


def test_weights_follow_the_seed_and_leave_the_global_one_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (untrained("google/flan-t5-small", "cpu", seed).shared.weight[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'flan' is not one of google/flan-t5-small"):
        untrained("flan")
