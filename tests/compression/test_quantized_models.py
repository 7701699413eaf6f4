"""The 4-bit base of QLoRA: T5's cast, training after an evaluation, adapters.

Quantized copies: what changes, what does not, and what trained and true rounding have in common.
"""

import copy

import bitsandbytes
import pytest
import torch
from torchao.quantization import quantize_
from torchao.utils import TorchAOBaseTensor

from helpers.compression.quantization import absmax, relative_error
from helpers.compression.quantized_models import (
    SCHEMES,
    converted,
    fake_quantized,
    held_bytes,
    linear_layers,
    low_bits,
    nf4,
    quantized,
    with_int8_embeddings,
)
from helpers.data.pairs import Collator
from helpers.models.generation import generate
from helpers.models.loading import head_is_tied
from helpers.run_records import fingerprint
from helpers.training.finetuning_methods import adapt, lora, qat
from helpers.training.finished_runs import load_run
from helpers.training.trainer import train
from tests.compression.quantization_cases import wide_model
from tests.training.training_cases import logits, tiny_batch, tiny_pairs, tiny_settings


@pytest.fixture(scope="module")
def base(tiny_tokenizer):
    return nf4(wide_model(tiny_tokenizer))


@pytest.fixture(scope="module")
def pairs_batch(tiny_tokenizer):
    return Collator(tiny_tokenizer.pad_token_id)(list(tiny_pairs(tiny_tokenizer)))


def test_all_linear_layers_are_four_bits_and_look_like_int8_to_t5(base):
    layers = [base.get_submodule(name) for name in linear_layers(base)]
    assert len(layers) == 2 * 7 + 2 * 11 and all(isinstance(layer, bitsandbytes.nn.Linear4bit) for layer in layers)
    assert {layer.weight.dtype for layer in layers} == {torch.int8}


def test_an_inference_leaves_the_weights_as_they_were(base, pairs_batch):
    before = fingerprint(base)
    with torch.no_grad():
        first, second = base(**pairs_batch).logits, base(**pairs_batch).logits
    assert fingerprint(base) == before and torch.equal(first, second)


def test_qlora_trains_the_adapter_alone_evaluations_in_between(base, pairs_batch, tiny_tokenizer, tmp_path):
    pairs, settings, before = tiny_pairs(tiny_tokenizer), tiny_settings(), fingerprint(base)
    run = train(
        base,
        tiny_tokenizer,
        pairs,
        pairs,
        lora(4, learning_rate=2e-2),
        settings,
        tmp_path,
        name="qlora",
        evaluations=6,
        show_progress=False,
    )
    losses = [loss for _, loss in run.record.validation_losses]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]
    assert fingerprint(base) == before
    assert all("lora_" in name for name, weight in run.model.named_parameters() if weight.requires_grad)
    assert held_bytes(run.model) < held_bytes(wide_model(tiny_tokenizer))
    again = load_run(run.folder, base, settings)
    with torch.no_grad():
        assert torch.equal(again.model(**pairs_batch).logits, run.model(**pairs_batch).logits)


ON_ANY_CPU = [scheme for name, scheme in SCHEMES.items() if "GPU" not in name]


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    return wide_model(tiny_tokenizer)


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    return tiny_batch(tiny_tokenizer)


@pytest.mark.parametrize(
    "make",
    [*(lambda model, scheme=scheme: quantized(model, scheme) for scheme in ON_ANY_CPU), nf4, with_int8_embeddings],
    ids=[*(name for name in SCHEMES if "GPU" not in name), "nf4", "embeddings"],
)
def test_a_quantized_copy_says_nearly_the_same_in_fewer_bytes(model, batch, dialogues, tiny_tokenizer, make):
    before = fingerprint(model), logits(model, batch)
    small = make(model)
    assert 0 < relative_error(logits(small, batch), before[1]) < 0.5
    assert held_bytes(small) < held_bytes(model)
    assert fingerprint(model) == before[0] and torch.equal(logits(model, batch), before[1])
    assert len(generate(small, tiny_tokenizer, dialogues, max_new_tokens=5, show_progress=False)) == len(dialogues)


def test_more_bits_lose_less(model, batch):
    errors = [
        relative_error(logits(quantized(model, low_bits(bits)), batch), logits(model, batch)) for bits in (8, 4, 3, 2)
    ]
    assert errors == sorted(errors)


def test_the_head_stays_unless_it_is_named(model):
    small = quantized(model, low_bits(4))
    assert (
        head_is_tied(small)
        and "lm_head" not in linear_layers(model)
        and not isinstance(small.lm_head.weight, TorchAOBaseTensor)
    )
    assert all(isinstance(small.get_submodule(name).weight, TorchAOBaseTensor) for name in linear_layers(small))
    alone = quantized(model, low_bits(4), ["lm_head"])
    assert (
        not head_is_tied(alone)
        and alone.config.tie_word_embeddings is False
        and isinstance(alone.lm_head.weight, TorchAOBaseTensor)
    )
    assert held_bytes(alone) > held_bytes(model)  # the embeddings are still there, in float32


@pytest.mark.parametrize("tied", [True, False])
def test_int8_embeddings_stay_tied_or_apart(tiny_tokenizer, tied):
    small = with_int8_embeddings(wide_model(tiny_tokenizer, tied))
    weights = [
        small.shared.weight,
        small.encoder.embed_tokens.weight,
        small.decoder.embed_tokens.weight,
        small.lm_head.weight,
    ]
    assert all(isinstance(weight, TorchAOBaseTensor) for weight in weights)
    assert weights[0] is weights[1] is weights[2] and (weights[3] is weights[0]) == tied


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_training_sees_exactly_what_the_integers_will_say(model, batch, bits):
    prepared = fake_quantized(copy.deepcopy(model), bits)
    assert torch.allclose(logits(prepared, batch), logits(converted(prepared, bits), batch), atol=1e-5)
    assert torch.allclose(logits(prepared, batch), logits(quantized(model, low_bits(bits)), batch), atol=1e-5)


def test_gradients_reach_all_weights_of_a_model_in_preparation(model, batch):
    prepared = adapt(model, qat(2))
    prepared(**batch).loss.backward()
    assert [name for name, weight in prepared.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_quantization_aware_training_lowers_the_loss_and_is_loaded_as_it_was(model, batch, tiny_tokenizer, tmp_path):
    pairs, settings = tiny_pairs(tiny_tokenizer), tiny_settings()
    run = train(model, tiny_tokenizer, pairs, pairs, qat(2, 1e-2), settings, tmp_path, show_progress=False)
    again = load_run(run.folder, model, settings)
    assert torch.allclose(
        logits(again.model, batch), logits(run.model, batch), atol=1e-4
    )  # a loaded one computes attention without padding
    assert fingerprint(again.model) == fingerprint(run.model)
    small = converted(run.model, 2)
    assert small(**batch).loss < 0.8 * quantized(model, low_bits(2))(**batch).loss
    assert {weight.target_dtype for weight in small.state_dict().values() if isinstance(weight, TorchAOBaseTensor)} == {
        torch.int2
    }


def test_bits_of_a_run_are_part_of_its_identity(model, tiny_tokenizer, tmp_path):
    pairs = tiny_pairs(tiny_tokenizer)
    folders = {
        train(
            model, tiny_tokenizer, pairs, pairs, qat(bits), tiny_settings(), tmp_path, steps=1, show_progress=False
        ).folder
        for bits in (2, 3)
    }
    assert len(folders) == 2


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_librarys_step_is_the_largest_weight_over_half_of_the_span_so_that_all_integers_are_used(bits):
    layer = torch.nn.Linear(32, 400, bias=False)
    torch.nn.init.normal_(layer.weight)
    weight, holder = layer.weight.detach().clone(), torch.nn.Module()
    holder.layer = layer
    quantize_(holder, low_bits(bits), filter_fn=lambda module, name: name == "layer")
    found, largest = holder.layer.weight.dequantize(), weight.abs().amax(1, keepdim=True)
    steps = found / (largest / ((2**bits - 1) / 2))
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert set(steps.round().unique().tolist()) == set(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))
    assert len(absmax(weight, bits, "channel").integers.unique()) == 2**bits - 1


def test_nf4_takes_the_nearest_of_sixteen_levels_in_blocks_of_64():
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    levels = bitsandbytes.functional.get_4bit_type("nf4", device="cpu")
    largest = weight.abs().amax(1, keepdim=True)
    by_hand = levels[((weight / largest).unsqueeze(-1) - levels).abs().argmin(-1)] * largest
    packed, state = bitsandbytes.functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    assert len(levels) == 16 and torch.allclose(
        bitsandbytes.functional.dequantize_4bit(packed, state), by_hand, atol=1e-5
    )
