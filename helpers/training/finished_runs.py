"""Finished runs: a trained model with its record, loaded from its folder onto the model that it was trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from peft import PeftModel, PeftType, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from helpers.compression.quantized_models import fake_quantized
from helpers.models.loading import load_seq2seq
from helpers.run_records import Record, TrainingError, fingerprint
from helpers.training.bottleneck_adapters import load_bottlenecks
from helpers.training.finetuning_methods import WHOLE, Method, adapt, prefix_shape

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as peft writes them


@dataclass(frozen=True)
class Run:
    """A trained model in evaluation mode, its record and folder, and whether it was loaded instead of trained just
    now.
    """

    model: object
    record: Record
    folder: Path
    loaded: bool

    def __str__(self):
        record = self.record
        how = "loaded, trained earlier" if self.loaded else "trained now"
        return (
            f"{record.name} ({how}): {record.trainable:,} of {record.total:,} parameters "
            f"({record.trainable / record.total:.2%}), "
            f"{record.seconds:.0f} s, {record.tokens_per_second:,.0f} tokens/s, validation loss "
            f"{min(loss for _, loss in record.validation_losses):.3f}"
        )


def load_run(folder, model, settings) -> Run:
    """A finished run, its adapter put on a copy of `model`, or its whole model loaded.

    Raises:
        TrainingError: the run started from another base model, or its adapter is not there as safetensors, is damaged
            or does not fit. ValueError: there is no readable record.
    """
    folder = Path(folder)
    record = Record.load(folder)
    if record.base != fingerprint(model):
        raise TrainingError(
            f"{folder}: was trained on another base model (weights {record.base[:10]}…) than the one given "
            f"({fingerprint(model)[:10]}…); load it with its own, or train again"
        )
    if record.method["kind"] in WHOLE:
        trained = load_seq2seq(replace(settings, model=str(folder.resolve()), model_revision=None, dtype="float32"))[1]
        if record.method["kind"] == "qat":
            trained = fake_quantized(trained, **record.method["options"])
    elif record.method["kind"] == "bottleneck":
        prepared = adapt(model, Method(**record.method))
        with _faults_named(folder, model):
            names = {name for name, weight in prepared.named_parameters() if weight.requires_grad}
            _check_names(folder, needed=names, known=names)
            trained = load_bottlenecks(prepared, folder)
    else:
        trained = load_adapter(folder, model)
    return Run(trained.to(settings.device).eval(), record, folder, loaded=True)


def load_adapter(folder, model):
    """The adapter of a folder on a copy of `model`, in float32 and evaluation mode.

    Raises:
        TrainingError: there is no adapter as safetensors, or it does not fit the model.
    """
    folder = Path(folder)
    with _faults_named(folder, model):
        adapted = PeftModel.from_pretrained(copy.deepcopy(model).float(), folder).eval()
        needed = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
        _check_names(folder, needed, known=needed | set(adapted.state_dict()))
        _check_shape(adapted)
    return adapted


@contextmanager
def _faults_named(folder: Path, model) -> Iterator[None]:
    """Inside, an adapter of this folder is read: what goes wrong becomes a TrainingError with the folder and a
    remedy.
    """
    if not (folder / ADAPTER).is_file():  # peft would go on to pickles, and then to the hub
        raise TrainingError(
            f"{folder}: has no {ADAPTER}; weights in another format are not read. Delete the folder to train again"
        )
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"{folder}: its adapter does not fit {type(model).__name__}, or is damaged "
            f"({str(error).splitlines()[0][:200]}); "
            "load it on the model that it was trained on"
        ) from error


def _check_names(folder, needed: set[str], known: set[str]):
    """Raises ValueError where the file lacks a tensor of the adapter, or has one that the model has no place for.

    peft leaves out both without an error.
    """
    with safe_open(folder / ADAPTER, framework="pt") as file:
        found = set(file.keys())
    for names, what in ((needed - found, "missing in the file"), (found - known, "without a place in the model")):
        if names:
            raise ValueError(f"tensors {what}: {len(names)}, such as {min(names)}")


def _check_shape(adapted):
    """Raises ValueError where a prefix or a prompt was trained for a model of another shape.

    Both are one tensor, whose name says nothing about the model.
    """
    config = adapted.active_peft_config
    if config.peft_type == PeftType.PREFIX_TUNING:
        expected = prefix_shape(adapted.get_base_model())
    elif config.peft_type == PeftType.PROMPT_TUNING:
        expected = {"token_dim": adapted.config.hidden_size}
    else:
        return
    for name, value in expected.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name} is {getattr(config, name)}, the model has {value}")
