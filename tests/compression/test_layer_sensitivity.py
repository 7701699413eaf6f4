"""What one part alone costs: losses by pair, kinds of layers."""

import copy

import pytest
import torch

from helpers.compression.layer_sensitivity import layer_kinds, part_of, sensitivity
from helpers.compression.quantized_models import low_bits, quantized
from helpers.data.pairs import Collator
from helpers.evaluation.losses import pair_losses
from tests.compression.quantization_cases import wide_model
from tests.training.training_cases import tiny_pairs


def test_the_losses_of_pairs_are_the_models(tiny_model, tiny_tokenizer):
    pairs = tiny_pairs(tiny_tokenizer)
    found = pair_losses(tiny_model, tiny_tokenizer, pairs, batch_size=4)
    for row in range(len(pairs)):
        with torch.no_grad():
            assert found[row] == pytest.approx(tiny_model(**Collator(0)([pairs[row]])).loss.item(), abs=1e-4)


def test_kinds_of_layers_have_one_layer_a_block(tiny_tokenizer):
    kinds = layer_kinds(wide_model(tiny_tokenizer))
    assert len(kinds) == 7 + 11 and all(len(names) == 2 for names in kinds.values())
    assert (
        part_of("decoder.block.1.layer.2.DenseReluDense.wo") == "decoder feed-forward wo"
        and "decoder cross-attention k" in kinds
    )


def test_the_part_that_is_destroyed_is_found(tiny_model, tiny_tokenizer):
    def without_head():
        broken = copy.deepcopy(tiny_model)
        broken.lm_head.weight = torch.nn.Parameter(torch.zeros_like(broken.lm_head.weight))
        return broken

    found = sensitivity(
        tiny_model, tiny_tokenizer, tiny_pairs(tiny_tokenizer, 0), {"nothing": lambda: tiny_model, "head": without_head}
    )
    assert found["nothing"].estimate == 0 and found["head"].low > 1


def test_rounding_one_kind_alone_changes_the_loss(tiny_tokenizer):
    model = wide_model(tiny_tokenizer)
    name, layers = next(iter(layer_kinds(model).items()))
    found = sensitivity(
        model, tiny_tokenizer, tiny_pairs(tiny_tokenizer), {name: lambda: quantized(model, low_bits(2), layers)}
    )
    assert found[name].estimate != 0
