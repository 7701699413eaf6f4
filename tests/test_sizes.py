"""Sizes: parameters are counted once, wherever they are used."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration

from helpers.models.sizes import count_parameters, parameter_table

EMBEDDINGS = 16 * 8     # vocabulary times width


@pytest.fixture
def model():
    """A tiny T5 whose head is its embeddings."""
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, decoder_start_token_id=0,
                                               feed_forward_proj="gated-gelu"))


def test_all_parameters_are_those_in_the_file(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert count_parameters(model).total == sum(weights.numel() for weights in load_file(tmp_path / "model.safetensors").values())


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
    assert table["decoder"]["parameters"] - table["encoder"]["parameters"] == 4 * 64 + 8   # cross-attention


def test_parameter_table_of_a_tied_model(model):
    assert [row["parameters"] for row in parameter_table(model) if row["component"] == "head"] == [0]
