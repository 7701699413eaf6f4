import copy
import platform

import pytest
import torch

from helpers.data.pairs import Collator
from helpers.models import cpu
from tests.training.training_cases import tiny_pairs


def with_attention(model, name):
    model = copy.deepcopy(model)
    model.set_attn_implementation(name)
    return model


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    return Collator(tiny_tokenizer.pad_token_id)(list(tiny_pairs(tiny_tokenizer)))


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_equals_the_stock_attention(tiny_model, batch, name, monkeypatch):
    calls, stock = [], cpu.scaled_dot_product_attention
    monkeypatch.setattr(
        cpu, "scaled_dot_product_attention", lambda *given, **options: calls.append(1) or stock(*given, **options)
    )
    ours, theirs = with_attention(tiny_model, cpu.NAME), with_attention(tiny_model, name)
    with torch.no_grad():
        assert torch.allclose(ours(**batch).logits, theirs(**batch).logits, atol=1e-4)
    assert len(calls) == 6 + 1 + 1  # each row of the encoder, the decoder's own attention and its cross-attention


def test_masks_that_are_no_padding_behind_the_text_are_obeyed_too(tiny_model, batch):
    ours, theirs = with_attention(tiny_model, cpu.NAME), with_attention(tiny_model, "sdpa")
    masks = {
        "before": batch["attention_mask"].flip(1),
        "between": batch["attention_mask"].clone(),
        "none": torch.ones_like(batch["attention_mask"]),
    }
    masks["between"][:, 3] = 0
    with torch.no_grad():
        for name, mask in masks.items():
            changed = batch | {"attention_mask": mask}
            assert torch.allclose(ours(**changed).logits, theirs(**changed).logits, atol=1e-4), name


def test_gradients_are_those_of_the_stock_attention(tiny_model, batch):
    grads = []
    for name in (cpu.NAME, "sdpa"):
        model = with_attention(tiny_model, name)
        model(**batch).loss.backward()
        grads.append({name: weight.grad for name, weight in model.named_parameters()})
    assert all(torch.allclose(grads[0][name], grads[1][name], atol=1e-4) for name in grads[1])


def test_the_fused_gelu_is_the_same_function(tiny_model, batch):
    fused = copy.deepcopy(tiny_model)
    cpu.fuse_gelu(fused)
    kinds = {type(module) for module in fused.modules()}
    assert torch.nn.GELU in kinds and cpu.NewGELUActivation not in kinds
    with torch.no_grad():
        assert torch.allclose(fused(**batch).logits, tiny_model(**batch).logits, atol=1e-4)


def test_only_a_t5_on_a_processor_is_prepared(tiny_model):
    from transformers import BartConfig, BartForConditionalGeneration

    other = BartForConditionalGeneration(
        BartConfig(
            vocab_size=50,
            d_model=8,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=8,
            decoder_ffn_dim=8,
            encoder_attention_heads=1,
            decoder_attention_heads=1,
        )
    )
    before = other.config._attn_implementation
    assert cpu.prepare_for_cpu(other).config._attn_implementation == before
    assert cpu.prepare_for_cpu(copy.deepcopy(tiny_model)).config._attn_implementation == cpu.NAME


def test_memory_is_kept_where_the_c_library_can(monkeypatch):
    assert cpu.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(cpu.sys, "platform", "win32")
    assert cpu.keep_freed_memory() is False


def test_large_models_give_large_blocks_back(tiny_model, monkeypatch):
    asked = []
    monkeypatch.setattr(cpu, "keep_freed_memory", lambda of_any_size: asked.append(of_any_size))
    cpu.prepare_for_cpu(copy.deepcopy(tiny_model))
    monkeypatch.setattr(cpu, "LARGE", 1000)
    cpu.prepare_for_cpu(copy.deepcopy(tiny_model))
    assert asked == [True, False]
    monkeypatch.undo()
    assert cpu.keep_freed_memory(of_any_size=False) == cpu.keep_freed_memory()
