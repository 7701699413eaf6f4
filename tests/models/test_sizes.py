"""The published numbers of parameters, and LoRA's share of them.

Sizes: parameters are counted once, wherever they are used.
"""

import pytest
import torch
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration

from helpers.models.loading import PARAMETERS, head_is_tied
from helpers.models.sizes import SHAPES, count_parameters, parameter_table, untrained
from helpers.training.finetuning_methods import ATTENTION, adapt, lora


@pytest.mark.parametrize("name", SHAPES)
def test_the_published_number_of_parameters_comes_out(name):
    model = untrained(name)
    assert count_parameters(model).total == PARAMETERS[name] and not head_is_tied(model)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_lora_on_flan_t5_base_trains_the_published_share():
    assert tuple(count_parameters(adapt(untrained("google/flan-t5-base"), lora(32, ATTENTION)))) == (
        3_538_944,
        251_116_800,
    )


def test_weights_follow_the_seed_and_leave_the_global_one_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (untrained("google/flan-t5-small", "cpu", seed).shared.weight[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'flan' is not one of google/flan-t5-small"):
        untrained("flan")


EMBEDDINGS = 16 * 8  # vocabulary times width


@pytest.fixture
def model():
    """A tiny T5 whose head is its embeddings."""
    torch.manual_seed(0)
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=16,
            d_model=8,
            d_kv=4,
            d_ff=12,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
            feed_forward_proj="gated-gelu",
        )
    )


def test_all_parameters_are_those_in_the_file(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert count_parameters(model).total == sum(
        weights.numel() for weights in load_file(tmp_path / "model.safetensors").values()
    )


def test_counts(model):
    total = count_parameters(model).total
    model.requires_grad_(False)
    model.shared.weight.requires_grad_(True)
    assert count_parameters(model) == (EMBEDDINGS, total)
    assert str(count_parameters(model)).startswith(f"{EMBEDDINGS} of {total:,} parameters")


def test_parameter_table(model):
    model.lm_head.weight = torch.nn.Parameter(torch.randn(16, 8))
    table = {row["component"]: row for row in parameter_table(model)}
    assert list(table) == ["embeddings", "encoder", "decoder", "head"]
    assert table["embeddings"]["parameters"] == table["head"]["parameters"] == EMBEDDINGS
    assert sum(row["parameters"] for row in table.values()) == count_parameters(model).total
    assert sum(row["share"] for row in table.values()) == pytest.approx(1)
    assert table["decoder"]["parameters"] - table["encoder"]["parameters"] == 4 * 64 + 8  # cross-attention


def test_parameter_table_of_a_tied_model(model):
    assert [row["parameters"] for row in parameter_table(model) if row["component"] == "head"] == [0]
