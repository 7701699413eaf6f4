import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.run_records import TrainingError
from helpers.training.finetuning_methods import bottleneck, ia3, lora, prefix_tuning, prompt_tuning
from helpers.training.finished_runs import ADAPTER, load_adapter, load_run
from helpers.training.trainer import train
from tests.tiny_world import tiny_t5
from tests.training.training_cases import tiny_pairs, tiny_settings

METHODS = {
    "lora": lora(2),
    "ia3": ia3(),
    "prefix": prefix_tuning(2),
    "prompt": prompt_tuning(2),
    "bottleneck": bottleneck(2),
}


@pytest.fixture(scope="module")
def models(tiny_tokenizer):
    """T5s of one and of two layers on each side, and one with wider heads."""
    torch.manual_seed(0)
    shapes = {"one layer": (8, 1), "two layers": (8, 2), "wide heads": (16, 1)}
    return {name: tiny_t5(tiny_tokenizer, *shape) for name, shape in shapes.items()}


@pytest.fixture
def trained(models, tiny_tokenizer, tmp_path):
    """A function: the folder of a run of this kind on this model, of one step."""

    def run(kind, model):
        pairs = tiny_pairs(tiny_tokenizer)
        options = {"steps": 1, "evaluations": 1, "show_progress": False}
        return train(
            models[model], tiny_tokenizer, pairs, pairs, METHODS[kind], tiny_settings(), tmp_path, **options
        ).folder

    return run


@pytest.mark.parametrize(
    ("kind", "own", "other", "difference"),
    [
        ("lora", "two layers", "one layer", "tensors without a place in the model: "),
        ("lora", "one layer", "two layers", "tensors missing in the file: "),
        ("ia3", "two layers", "one layer", "tensors without a place in the model: "),
        ("ia3", "one layer", "two layers", "tensors missing in the file: "),
        ("prefix", "two layers", "one layer", "num_layers is 2, the model has 1"),
        ("prefix", "one layer", "two layers", "num_layers is 1, the model has 2"),
        ("prefix", "one layer", "wide heads", "token_dim is 16, the model has 32"),
    ],
)
def test_an_adapter_of_a_model_of_another_shape_is_refused(models, trained, kind, own, other, difference):
    folder = trained(kind, own)
    load_adapter(folder, models[own])
    with pytest.raises(TrainingError, match=rf"{kind}-.*does not fit.*{difference}.*load it on the model that it was"):
        load_adapter(folder, models[other])


def test_a_prompt_of_another_width_is_refused(models, trained, tiny_tokenizer):
    wider = models["one layer"].config.__class__(**models["one layer"].config.to_dict() | {"d_model": 64})
    with pytest.raises(TrainingError, match="token_dim is 32, the model has 64"):
        load_adapter(trained("prompt", "one layer"), type(models["one layer"])(wider))


@pytest.mark.parametrize("kind", ["lora", "bottleneck"])
def test_a_file_that_lacks_a_tensor_is_refused(models, trained, kind):
    folder = trained(kind, "one layer")
    weights = load_file(folder / ADAPTER)
    lost = sorted(weights)[0]
    save_file({name: weight for name, weight in weights.items() if name != lost}, folder / ADAPTER)
    with pytest.raises(TrainingError, match=rf"{kind}-.*tensors missing in the file: 1, such as {lost}"):
        load_run(folder, models["one layer"], tiny_settings())


@pytest.mark.parametrize("kind", ["lora", "prefix", "bottleneck"])
def test_a_damaged_file_is_named(models, trained, kind):
    folder = trained(kind, "one layer")
    whole = (folder / ADAPTER).read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        (folder / ADAPTER).write_bytes(content)
        with pytest.raises(TrainingError, match=rf"{kind}-.*or is damaged"):
            load_run(folder, models["one layer"], tiny_settings())
    (folder / ADAPTER).unlink()
    with pytest.raises(TrainingError, match=rf"{kind}-.*has no adapter_model.safetensors"):
        load_run(folder, models["one layer"], tiny_settings())
