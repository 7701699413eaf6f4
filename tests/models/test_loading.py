"""Output heads: a head of its own computes the same, until the config's untrue word is believed.

Models: loading a whole model and refusing a damaged one; an untied output head stays untied.
"""

import copy
import json
import logging
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models as token_models, pre_tokenizers
from transformers import BartConfig, BertConfig, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from helpers import hub
from helpers.models import loading as models
from helpers.models.loading import ModelError, head_is_tied, load_seq2seq, load_tokenizer, with_own_head
from helpers.models.sizes import count_parameters, untrained
from helpers.settings import load_settings


def logits(model, tokenizer):
    batch = tokenizer(["The kettle is broken."], return_tensors="pt")
    with torch.inference_mode():
        return model(**batch, labels=batch["input_ids"]).logits


def test_a_head_of_its_own_computes_the_same(tiny_model, tiny_tokenizer):
    before = copy.deepcopy(tiny_model.state_dict())
    apart = with_own_head(tiny_model)
    assert head_is_tied(tiny_model) and not head_is_tied(apart) and apart.config.tie_word_embeddings
    torch.testing.assert_close(logits(apart, tiny_tokenizer), logits(tiny_model, tiny_tokenizer), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(weights, before[name]) for name, weights in tiny_model.state_dict().items())


@pytest.mark.parametrize("said", [True, False])
def test_resizing_replaces_the_head_where_the_config_says_that_it_is_tied(tiny_model, tiny_tokenizer, said):
    apart = with_own_head(tiny_model)
    apart.config.tie_word_embeddings = said
    expected = logits(tiny_model, tiny_tokenizer)
    apart.resize_token_embeddings(apart.config.vocab_size + 8, mean_resizing=False)
    assert head_is_tied(apart) == said
    assert torch.allclose(logits(apart, tiny_tokenizer)[..., : expected.shape[-1]], expected, atol=1e-3) == (not said)


def test_a_head_that_is_apart_already_is_left_as_it_is():
    model = untrained("google/flan-t5-small")
    apart = with_own_head(model)
    assert (
        apart.lm_head.weight.shape == model.lm_head.weight.shape
        and not head_is_tied(apart)
        and apart.config.tie_word_embeddings
    )


def test_a_tokenizer_without_a_limit_gets_that_of_the_models_positions(tiny_tokenizer, tmp_path):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path)
    for config, window in ((BartConfig(max_position_embeddings=128), 128), (T5Config(), int(1e30))):
        config.save_pretrained(tmp_path)
        assert load_tokenizer(load_settings("pocket", model=str(tmp_path))).model_max_length == window


def test_t5config_ties_whatever_it_is_told():
    assert T5Config(tie_word_embeddings=False).tie_word_embeddings


WORDS = ["<pad>", "</s>", "<unk>", "hello", "how", "are", "you", "fine", "thanks", "bye"]
SHAPE = {
    "vocab_size": 16,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 12,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "feed_forward_proj": "gated-gelu",
}
FLAN = {
    "google/flan-t5-small": (512, 1024, 8, 6),
    "google/flan-t5-base": (768, 2048, 12, 12),
    "google/flan-t5-large": (1024, 2816, 24, 16),
}  # d_model, d_ff, layers, heads


def save_tokenizer(folder, words=WORDS):
    backend = Tokenizer(token_models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A whole tiny T5 with tied embeddings, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    T5ForConditionalGeneration(T5Config(**SHAPE)).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(original, tmp_path / "model")


def load(folder, **overrides):
    return load_seq2seq(load_settings("pocket", model=folder, device="cpu", **overrides))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def untie(folder):
    """Gives the saved model an output head of its own, and the config.json that FLAN-T5 has."""
    head = torch.randn(16, 8)
    change_weights(folder, lambda weights: weights.update({"lm_head.weight": head}))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("scale_decoder_outputs", None)
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}), encoding="utf-8")
    return head


def test_loads_without_a_network(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was used: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    tokenizer, model = load(folder)
    assert tokenizer.decode(tokenizer("hello you")["input_ids"]) == "hello you"
    assert torch.equal(model.shared.weight, load_file(folder / "model.safetensors")["shared.weight"])
    assert not model.training and head_is_tied(model) and model.config.tie_word_embeddings
    logits = model(**tokenizer("hello", return_tensors="pt"), labels=torch.tensor([[6, 1]])).logits
    assert logits.shape == (1, 2, 16) and logits.dtype == torch.float32


def test_dtype_is_that_of_the_settings(folder):
    assert {weight.dtype for weight in load(folder, dtype="bfloat16")[1].parameters()} == {torch.bfloat16}


def test_untied_head_is_loaded_and_stays_untied(folder, tmp_path):
    head = untie(folder)
    _, model = load(folder)
    assert torch.equal(model.lm_head.weight, head) and not head_is_tied(model)
    assert model.encoder.embed_tokens.weight is model.shared.weight is model.decoder.embed_tokens.weight
    assert not model.config.tie_word_embeddings and not model.config.scale_decoder_outputs
    model.tie_weights()
    assert torch.equal(model.lm_head.weight, head)
    model.resize_token_embeddings(24, mean_resizing=False)
    assert torch.equal(model.lm_head.weight[:16], head) and not head_is_tied(model)
    model.save_pretrained(tmp_path / "saved")
    save_tokenizer(tmp_path / "saved")
    _, again = load(tmp_path / "saved")
    assert torch.equal(again.lm_head.weight[:16], head) and not again.config.tie_word_embeddings


def test_without_the_correction_the_head_would_be_lost(folder):
    """The fault itself, so that we notice when transformers no longer has it."""
    head = untie(folder)
    model = T5ForConditionalGeneration.from_pretrained(folder)
    assert torch.equal(model.lm_head.weight, head)
    model.tie_weights()
    assert head_is_tied(model)


@pytest.mark.parametrize("through_the_kit", [True, False])
def test_advice_that_cannot_be_followed_is_not_printed(folder, monkeypatch, caplog, through_the_kit):
    untie(folder)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)  # else caplog sees nothing of it
    load(folder) if through_the_kit else T5ForConditionalGeneration.from_pretrained(folder)
    assert ("we will NOT tie them" in caplog.text) != through_the_kit


def test_stored_head_that_equals_the_embeddings_is_a_tied_one(folder):
    change_weights(folder, lambda weights: weights.update({"lm_head.weight": weights["shared.weight"].clone()}))
    assert head_is_tied(load(folder)[1])


def test_head_replaced_while_loading_is_an_error(folder, monkeypatch):
    untie(folder)
    original = models.AutoModelForSeq2SeqLM.from_pretrained

    def loads_and_ties(*args, **options):
        model, report = original(*args, **options)
        model.tie_weights()
        return model, report

    monkeypatch.setattr(models.AutoModelForSeq2SeqLM, "from_pretrained", loads_and_ties)
    with pytest.raises(ModelError, match="output head was replaced by its embeddings"):
        load(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda weights: weights.pop("decoder.final_layer_norm.weight"),
            r"lacks these weights: decoder.final_layer_norm",
        ),
        (lambda weights: weights.update(odd=torch.zeros(2)), r"no such weights: odd \(1 in all\)"),
        (lambda weights: weights.update({"shared.weight": torch.zeros(9, 8)}), "another shape .*shared.weight"),
        (lambda weights: weights["shared.weight"].view(-1)[0].fill_(float("nan")), "NaN or infinity, .* shared.weight"),
        (lambda weights: weights["encoder.final_layer_norm.weight"].fill_(float("inf")), "is encoder.final_layer_norm"),
    ],
)
def test_damaged_weights(folder, change, message):
    change_weights(folder, change)
    with pytest.raises(ModelError, match=message):
        load(folder)


@pytest.mark.parametrize("keep", [0, 5, 200, -100])
def test_weights_cut_short(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model.safetensors: is broken or cut short at .* fetch it again"):
        load(folder)


def test_missing_files(folder, tmp_path):
    (folder / "model.safetensors").replace(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="has no safetensors file"):
        load(folder)
    settings = load_settings("pocket", model=folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="has no config.json"):
        load_seq2seq(settings)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_broken_json(folder, name):
    (folder / name).write_text('{"model_type": ', encoding="utf-8")
    with pytest.raises(ModelError, match="is no encoder-decoder model that transformers can load"):
        load(folder)


def test_missing_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load(folder)


def test_other_kinds_of_model(folder):
    BertConfig().save_pretrained(folder)
    with pytest.raises(ModelError, match="is no encoder-decoder model"):
        load(folder)


def test_vocabulary_smaller_than_the_tokenizer(folder):
    save_tokenizer(folder, WORDS + [f"word{number}" for number in range(10)])
    with pytest.raises(ModelError, match="embeddings for 16 tokens, but its tokenizer knows 20"):
        load(folder)


def test_known_model_with_another_count(folder, monkeypatch):
    monkeypatch.setitem(models.PARAMETERS, str(folder), 7)
    with pytest.raises(ModelError, match=r"parameters instead of 7; .*constraints.txt"):
        load(folder)


def test_hub_out_of_reach(monkeypatch):
    asked = {}

    def snapshot_download(**options):
        asked.update(options)
        raise FileNotFoundError("not here\nmore")

    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(ModelError, match="google/flan-t5-small: .*not here.*profile pocket.*LAB_MODEL"):
        load_seq2seq(load_settings("small"))
    assert asked["local_files_only"] and asked["revision"] == "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab"


def test_hub_model_is_loaded_from_its_snapshot(monkeypatch, folder):
    monkeypatch.setattr(models, "fetch", lambda name, *_, **options: folder)
    _, model = load_seq2seq(load_settings("pocket", model="some/model"))
    assert count_parameters(model).total > 0


@pytest.mark.parametrize("name", FLAN)
def test_expected_counts_follow_from_the_shapes(name):
    width, inner, layers, heads = FLAN[name]
    with torch.device("meta"):
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=32128,
                d_model=width,
                d_kv=64,
                d_ff=inner,
                num_layers=layers,
                num_heads=heads,
                feed_forward_proj="gated-gelu",
            )
        )
    assert count_parameters(model).total + 32128 * width == models.PARAMETERS[name]
