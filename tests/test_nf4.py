"""The 4-bit base of QLoRA: T5's cast, training after an evaluation, adapters."""

import bitsandbytes
import pytest
import torch

from helpers.compression.quantized_models import held_bytes, linear_layers, nf4
from helpers.data.pairs import Collator
from helpers.runs import fingerprint
from helpers.training.methods import lora
from helpers.training.trainer import load_run, train
from tests.quantization_cases import wide_model
from tests.training_cases import tiny_pairs, tiny_settings


@pytest.fixture(scope="module")
def base(tiny_tokenizer):
    return nf4(wide_model(tiny_tokenizer))


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    return Collator(tiny_tokenizer.pad_token_id)(list(tiny_pairs(tiny_tokenizer)))


def test_all_linear_layers_are_four_bits_and_look_like_int8_to_t5(base):
    layers = [base.get_submodule(name) for name in linear_layers(base)]
    assert len(layers) == 2 * 7 + 2 * 11 and all(isinstance(layer, bitsandbytes.nn.Linear4bit) for layer in layers)
    assert {layer.weight.dtype for layer in layers} == {torch.int8}


def test_an_inference_leaves_the_weights_as_they_were(base, batch):
    before = fingerprint(base)
    with torch.no_grad():
        first, second = base(**batch).logits, base(**batch).logits
    assert fingerprint(base) == before and torch.equal(first, second)


def test_qlora_trains_the_adapter_alone_evaluations_in_between(base, batch, tiny_tokenizer, tmp_path):
    pairs, settings, before = tiny_pairs(tiny_tokenizer), tiny_settings(), fingerprint(base)
    run = train(base, tiny_tokenizer, pairs, pairs, lora(4, learning_rate=2e-2), settings, tmp_path, name="qlora", evaluations=6, show_progress=False)
    losses = [loss for _, loss in run.record.validation_losses]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]
    assert fingerprint(base) == before
    assert all("lora_" in name for name, weight in run.model.named_parameters() if weight.requires_grad)
    assert held_bytes(run.model) < held_bytes(wide_model(tiny_tokenizer))
    again = load_run(run.folder, base, settings)
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits, run.model(**batch).logits)
