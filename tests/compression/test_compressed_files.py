"""Compressed models on disk: equal bit for bit, small, and clear about what cannot be."""

import copy
import json

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torchao.quantization import Int4Tensor
from torchao.utils import TorchAOBaseTensor

from helpers.compression.compressed_files import (
    WEIGHTS,
    CompressedError,
    content_digest,
    file_bytes,
    load_compressed,
    save_compressed,
    weight_files,
)
from helpers.compression.quantized_models import (
    SCHEMES,
    held_bytes,
    low_bits,
    nf4,
    parts,
    quantized,
    with_int8_embeddings,
)
from helpers.models.cpu import prepare_for_cpu
from helpers.models.generation import generate
from helpers.models.loading import head_is_tied
from helpers.training.finetuning_methods import adapt, lora
from tests.compression.quantization_cases import wide_model

MAKERS = {
    "float32": lambda model: model,
    "bfloat16": lambda model: copy.deepcopy(model).to(torch.bfloat16),
    "nf4": nf4,
    "int3, embeddings int8": lambda model: with_int8_embeddings(quantized(model, low_bits(3))),
    "int2": lambda model: quantized(model, low_bits(2)),
    "int4, head too": lambda model: quantized(
        model, low_bits(4), ["lm_head", "encoder.block.0.layer.1.DenseReluDense.wo"]
    ),
    **{
        name: lambda model, scheme=scheme: quantized(model, scheme)
        for name, scheme in SCHEMES.items()
        if "GPU" not in name
    },
}


def bits_of(model):
    """Everything that a model consists of, as bytes."""
    return {
        (name, number): part.detach().cpu().contiguous().flatten().view(torch.uint8).tolist()
        for name, weight in model.state_dict().items()
        for number, part in enumerate(parts(weight))
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_model_is_the_saved_one_bit_for_bit(tiny_tokenizer, dialogues, tmp_path, name, tied):
    model = MAKERS[name](wide_model(tiny_tokenizer, tied))
    folder = save_compressed(model, tiny_tokenizer, tmp_path / "model")
    tokenizer, loaded = load_compressed(folder)
    assert bits_of(loaded) == bits_of(model) and head_is_tied(loaded) == head_is_tied(model)
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".model"}
    same_way = (
        prepare_for_cpu(model),
        loaded,
    )  # another order of sums can tip the scales where random weights leave two tokens nearly equal
    said = [generate(each, tokenizer, dialogues, max_new_tokens=8, show_progress=False) for each in same_way]
    assert said[0] == said[1]


@pytest.mark.parametrize("name", MAKERS)
def test_the_digest_is_of_what_a_file_says(tiny_tokenizer, tmp_path, name):
    model = MAKERS[name](wide_model(tiny_tokenizer))
    digests = {
        content_digest(save_compressed(model, tiny_tokenizer, tmp_path / str(number))) for number in range(4)
    }  # their notes lie in any order
    other = content_digest(
        save_compressed(MAKERS[name](wide_model(tiny_tokenizer, seed=1)), tiny_tokenizer, tmp_path / "other")
    )
    assert len(digests) == 1 and other not in digests


def adapted(model):
    """The model with an adapter that says something: as it starts, LoRA's B is zero."""
    found = adapt(model, lora(4))
    for name, weight in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return found.eval()


@pytest.mark.parametrize("name", ["float32", "nf4"])
def test_an_adapter_lies_beside_its_base_and_both_come_back_bit_for_bit(tiny_tokenizer, dialogues, tmp_path, name):
    base = MAKERS[name](wide_model(tiny_tokenizer))
    model = adapted(base)
    folder, alone = (
        save_compressed(model, tiny_tokenizer, tmp_path / "model"),
        save_compressed(base, tiny_tokenizer, tmp_path / "base"),
    )
    assert [path.name for path in weight_files(folder)] == [WEIGHTS, "adapter_model.safetensors"]
    assert file_bytes(folder) == file_bytes(alone) + (folder / "adapter_model.safetensors").stat().st_size
    tokenizer, loaded = load_compressed(folder)
    assert bits_of(loaded) == bits_of(model) and {path.suffix for path in folder.iterdir()} <= {
        ".json",
        ".safetensors",
        ".model",
    }
    said = [
        generate(each, tokenizer, dialogues, max_new_tokens=8, show_progress=False) for each in (model, loaded, base)
    ]
    assert said[0] == said[1] != said[2]


def test_a_model_saved_over_another_does_not_keep_its_adapter(tiny_tokenizer, tmp_path):
    model = wide_model(tiny_tokenizer)
    save_compressed(adapted(model), tiny_tokenizer, tmp_path)
    assert weight_files(save_compressed(model, tiny_tokenizer, tmp_path)) == [tmp_path / WEIGHTS]
    assert bits_of(load_compressed(tmp_path)[1]) == bits_of(model)


def test_integers_of_few_bits_are_packed_in_the_file(tiny_tokenizer, tmp_path):
    model = wide_model(tiny_tokenizer)
    sizes = [
        file_bytes(save_compressed(quantized(model, low_bits(bits)), tiny_tokenizer, tmp_path / str(bits)))
        for bits in (8, 4, 2)
    ]
    weights = sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and "block" in name and "bias" not in name
    )
    assert sizes[0] - sizes[1] == pytest.approx(weights / 2, abs=5000) and sizes[1] - sizes[2] == pytest.approx(
        weights / 4, abs=5000
    )


def test_a_float_file_is_as_large_as_its_weights(tiny_tokenizer, tmp_path):
    model = wide_model(tiny_tokenizer)
    assert held_bytes(model) < file_bytes(save_compressed(model, tiny_tokenizer, tmp_path)) < held_bytes(model) + 20_000


def four_bits_for_a_gpu(weight, group=32):
    """A weight in the form that torchao's GPU kernel takes: two integers a byte, scales and zero points by group and
    row.
    """
    rows, columns = weight.shape
    return Int4Tensor(
        torch.zeros(rows, columns // 2, dtype=torch.int8),
        torch.ones(columns // group, rows, dtype=torch.bfloat16),
        torch.zeros(columns // group, rows, dtype=torch.bfloat16),
        [1, group],
        list(weight.shape),
    )


def test_a_checkpoint_for_a_gpu_says_so_on_a_processor(tiny_tokenizer, tmp_path):
    model = wide_model(tiny_tokenizer)
    layer = model.encoder.block[0].layer[0].SelfAttention.q
    layer.weight = nn.Parameter(four_bits_for_a_gpu(layer.weight), requires_grad=False)
    assert isinstance(layer.weight, TorchAOBaseTensor)
    save_compressed(model, tiny_tokenizer, tmp_path)
    with pytest.raises(
        CompressedError,
        match=r"1 weights are Int4Tensor, a form for cuda, and this model is to run on cpu .* again for cpu",
    ):
        load_compressed(tmp_path, "cpu")


def test_broken_and_foreign_files_are_named(tiny_tokenizer, tmp_path):
    folder = save_compressed(wide_model(tiny_tokenizer), tiny_tokenizer, tmp_path / "model")
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(CompressedError, match="broken or cut short"):
        load_compressed(folder)
    wide_model(tiny_tokenizer).save_pretrained(folder)
    with pytest.raises(CompressedError, match="was not written by save_compressed"):
        load_compressed(folder)
    with pytest.raises(CompressedError, match="is missing"):
        load_compressed(tmp_path / "nowhere")


def test_a_configuration_of_another_model_is_refused(tiny_tokenizer, tmp_path):
    folder = save_compressed(wide_model(tiny_tokenizer), tiny_tokenizer, tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"num_layers": 3}), encoding="utf-8")
    with pytest.raises(CompressedError, match=r"of different models \(missing \['encoder.block.2"):
        load_compressed(folder)


def test_the_file_says_where_it_was_made(tiny_tokenizer, tmp_path):
    folder = save_compressed(wide_model(tiny_tokenizer), tiny_tokenizer, tmp_path)
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        assert json.loads(file.metadata()["compressed"])["made on"].startswith("cpu (")
