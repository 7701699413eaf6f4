import pytest
import torch
from torch import nn

from helpers.compression.pruning import pruned, zeros
from helpers.compression.quantized_models import linear_layers
from helpers.models.sizes import count_parameters
from helpers.run_records import fingerprint
from helpers.training.finetuning_methods import (
    ATTENTION,
    LINEAR,
    NORMS,
    Method,
    adapt,
    bottleneck,
    full,
    ia3,
    lora,
    lora_parameters,
    prefix_tuning,
    prompt_tuning,
    selective,
    sparse,
)
from helpers.training.finished_runs import load_run
from helpers.training.trainer import train
from tests.training.training_cases import tiny_pairs, tiny_settings

ALL = [full(), lora(4), ia3(), selective(), bottleneck(3), prefix_tuning(5), prompt_tuning(5)]


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    from helpers.data.pairs import Collator

    return Collator(tiny_tokenizer.pad_token_id)(list(tiny_pairs(tiny_tokenizer)))


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.kind)
def test_the_model_given_stays_as_it_was(tiny_model, batch, method):
    before, outputs = fingerprint(tiny_model), logits(tiny_model, batch)
    adapted = adapt(tiny_model, method)
    with torch.no_grad():
        for weight in adapted.parameters():
            weight.add_(weight.requires_grad * 0.1)
    assert fingerprint(tiny_model) == before and torch.equal(logits(tiny_model, batch), outputs)
    assert not torch.allclose(logits(adapted.eval(), batch), outputs)


@pytest.mark.parametrize("method", ALL[:5], ids=lambda method: method.kind)
def test_before_training_the_outputs_are_those_of_the_model(tiny_model, batch, method):
    assert torch.allclose(logits(adapt(tiny_model, method).eval(), batch), logits(tiny_model, batch), atol=1e-6)


def test_only_what_the_method_names_is_trained(tiny_model):
    trained = {
        method.kind: {name for name, weight in adapt(tiny_model, method).named_parameters() if weight.requires_grad}
        for method in ALL
    }
    assert trained["full"] == {name for name, _ in tiny_model.named_parameters()}
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained["lora"]} == set(LINEAR)
    assert all(".lora_" in name for name in trained["lora"])
    assert all("ia3_l" in name for name in trained["ia3"])
    scales = {name for name, weight in adapt(tiny_model, selective(NORMS)).named_parameters() if weight.requires_grad}
    assert scales == {name for name, weight in tiny_model.named_parameters() if weight.dim() == 1}
    assert (
        trained["selective"] == {name for name, _ in tiny_model.named_parameters() if "EncDecAttention" in name}
        and trained["selective"]
    )
    behind = {name for name in trained["bottleneck"] if "bottleneck" in name}
    assert trained["bottleneck"] - behind == scales
    assert {name.split(".bottleneck")[0].rsplit(".", 1)[-1] for name in behind} == {"o", "wo"}
    assert trained["prompt"] == trained["prefix"] == {"prompt_encoder.default.embedding.weight"}


def test_the_low_rank_arithmetic_is_that_of_peft(tiny_model):
    assert lora_parameters(8, [(512, 64)]) == 4608
    shapes = [
        tuple(module.weight.shape)
        for name, module in tiny_model.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in ATTENTION
    ]
    assert count_parameters(adapt(tiny_model, lora(4, ATTENTION))).trainable == lora_parameters(4, shapes)
    assert count_parameters(adapt(tiny_model, prompt_tuning(5))).trainable == 5 * tiny_model.config.d_model
    shape = tiny_model.config
    keys_and_values = 2 * shape.num_decoder_layers * shape.num_heads * shape.d_kv
    assert count_parameters(adapt(tiny_model, prefix_tuning(5))).trainable == 5 * keys_and_values


def test_a_prefix_has_the_decoders_shape_where_the_encoder_has_another():
    from transformers import BartConfig, BartForConditionalGeneration

    sizes = {"vocab_size": 100, "d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    layers = {"encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 2}
    adapted = adapt(BartForConditionalGeneration(BartConfig(**sizes, **layers)), prefix_tuning(5))
    ids = torch.arange(4, 18).view(2, 7)
    adapted(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    [prefix] = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert prefix.shape == (5, 2 * 2 * 32) and prefix.grad.abs().sum() > 0


def test_flan_t5_base_has_the_published_counts():
    from transformers import T5Config, T5ForConditionalGeneration

    with torch.device("meta"):
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=32128,
                d_model=768,
                d_kv=64,
                d_ff=2048,
                num_heads=12,
                num_layers=12,
                num_decoder_layers=12,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
            )
        )
        model.lm_head = nn.Linear(768, 32128, bias=False)
    shapes = [
        tuple(module.weight.shape) for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in ATTENTION
    ]
    trainable = lora_parameters(32, shapes)
    assert (trainable, trainable + count_parameters(model).total) == (3_538_944, 251_116_800)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: lora(0), "rank: 0"),
        (lambda: full(3.0), "learning_rate: 3.0"),
        (lambda: Method("bitfit", 1e-3), "kind: 'bitfit'"),
        (lambda: Method("lora", 2e-5, {"ranks": 4}), "ranks"),
        (lambda: selective(("bias",)), "targets: bias"),
        (lambda: bottleneck(0), "width: 0"),
    ],
)
def test_impossible_methods_are_named(tiny_model, make, named):
    with pytest.raises(ValueError, match=named):
        adapt(tiny_model, make())


def test_layers_that_the_model_does_not_have_are_named(tiny_model):
    with pytest.raises(ValueError, match="nowhere"):
        adapt(tiny_model, lora(2, targets=("nowhere",)))


def zero_places(model):
    return {name: model.get_submodule(name).weight == 0 for name in linear_layers(model)}


def test_sparse_training_keeps_every_zero_and_moves_everything_else(tiny_model, tiny_tokenizer, tmp_path):
    small, pairs, settings = pruned(tiny_model, 0.6), tiny_pairs(tiny_tokenizer), tiny_settings()
    run = train(small, tiny_tokenizer, pairs, pairs, sparse(1e-2), settings, tmp_path, show_progress=False)
    before, after = zero_places(small), zero_places(run.model)
    assert all(torch.equal(before[name], after[name]) for name in before) and zeros(run.model) == zeros(small)
    moved = [
        (weight != dict(small.named_parameters())[name]).float().mean().item()
        for name, weight in run.model.named_parameters()
        if "relative" not in name
    ]
    assert run.record.losses[-1][1] < run.record.losses[0][1] and min(moved) > 0.2
    again = load_run(run.folder, small, settings)
    assert (
        again.loaded and fingerprint(again.model) == fingerprint(run.model) and again.record.method["kind"] == "sparse"
    )


def test_full_training_of_the_same_model_fills_the_zeros(tiny_model, tiny_tokenizer, tmp_path):
    pairs = tiny_pairs(tiny_tokenizer)
    run = train(
        pruned(tiny_model, 0.6),
        tiny_tokenizer,
        pairs,
        pairs,
        full(1e-2),
        tiny_settings(),
        tmp_path,
        steps=2,
        show_progress=False,
    )
    assert zeros(run.model) < 0.05


def test_without_zeros_sparse_training_is_full_training(tiny_model, tiny_tokenizer, tmp_path):
    pairs = tiny_pairs(tiny_tokenizer)
    runs = [
        train(tiny_model, tiny_tokenizer, pairs, pairs, method, tiny_settings(), tmp_path, steps=3, show_progress=False)
        for method in (full(1e-2), sparse(1e-2))
    ]
    assert fingerprint(runs[0].model) == fingerprint(runs[1].model)


def test_a_bottleneck_adds_its_own_network_behind_each_sublayer(tiny_model, batch):
    """Of 2·s·w + w + s numbers each; by hand, one layer's output is x + up(relu(down(x)))."""
    size, width = tiny_model.config.d_model, 3
    adapted = adapt(tiny_model, bottleneck(width))
    blocks = tiny_model.config.num_layers, tiny_model.config.num_decoder_layers
    norms = sum(weight.numel() for weight in tiny_model.parameters() if weight.dim() == 1)
    count = (2 * blocks[0] + 3 * blocks[1]) * (2 * size * width + width + size)
    assert count_parameters(adapted).trainable == count + norms
    layer = adapted.encoder.block[0].layer[0].SelfAttention.o
    with torch.no_grad():
        layer.bottleneck.up.weight.normal_()
        states = torch.randn(2, layer.in_features)
        plain = states @ layer.weight.T
        through = torch.relu(plain @ layer.bottleneck.down.weight.T + layer.bottleneck.down.bias)
        assert torch.allclose(layer(states), plain + through @ layer.bottleneck.up.weight.T, atol=1e-5)
