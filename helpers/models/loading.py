"""Models: loads a tokenizer and an encoder-decoder model, and checks that they are whole; output heads of a T5."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from helpers.hub import HubError, fetch, first_line
from helpers.models.cpu import prepare_for_cpu
from helpers.models.generation import positions
from helpers.models.sizes import count_parameters
from helpers.progress import one_bar
from helpers.settings import REPLACEABLE, Settings

# With the output head apart from the embeddings (vocabulary × width more than if they were tied).
PARAMETERS = {
    "google/flan-t5-small": 76_961_152,
    "google/flan-t5-base": 247_577_856,
    "google/flan-t5-large": 783_150_080,
}
FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # of a repository; no weights in other formats
VOCABULARIES = ("tokenizer.json", "spiece.model", "tokenizer.model", "vocab.json", "vocab.txt")
LOCAL = {"local_files_only": True, "trust_remote_code": False}


class ModelError(RuntimeError):
    """A model that cannot be loaded, or is not whole; the message names it, what was found, and what to do."""


def load_seq2seq(settings: Settings):
    """(tokenizer, model) of `settings.model` in `settings.dtype` on `settings.device`, ready for generation.

    Only safetensors are read, and no code of a model's repository is run.

    Raises:
        ModelError: the hub cannot be reached; a file is missing, cut short or of another kind; weights missing, left
            over, of the wrong shape or not finite; the vocabulary is smaller than the tokenizer's; a known model has
            the wrong number of parameters.
    """
    folder = model_folder(settings.model, settings.model_revision)
    files = weight_files(settings.model, folder)
    tokenizer = load_tokenizer(settings)
    with as_model_error(settings.model), _without_tying_advice(), one_bar():
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            folder,
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **LOCAL,
        )  # so that the report lists them; _check_report refuses them
    check_report(settings.model, report)
    check_weights(settings.model, model, tokenizer)
    _keep_head(settings.model, model, files.get("lm_head.weight"))
    return tokenizer, prepare_for_cpu(model.to(settings.device)).eval()


def load_tokenizer(settings: Settings):
    """The tokenizer of `settings.model` alone, in the same way as `load_seq2seq`; it knows the model's window.

    Raises:
        ModelError: the hub cannot be reached, or there is no tokenizer that can be loaded.
    """
    return tokenizer_of(settings.model, model_folder(settings.model, settings.model_revision))


def tokenizer_of(name: str, folder: Path, kind: str = "encoder-decoder", variable: str = "LAB_MODEL"):
    """The tokenizer in a model's folder, which knows the model's window; see `as_model_error` for kind, variable.

    Raises:
        ModelError: there is none that can be loaded.
    """
    if not any((folder / file).is_file() for file in VOCABULARIES):
        # transformers would make one up, in which every word is unknown
        raise ModelError(
            f"{name}: has no tokenizer ({', '.join(VOCABULARIES)}); save it into the same folder: "
            "tokenizer.save_pretrained(folder)"
        )
    with as_model_error(name, kind, variable):
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        window = positions(AutoConfig.from_pretrained(folder, **LOCAL))
    tokenizer.model_max_length = min(tokenizer.model_max_length, window)  # many tokenizers know no limit
    return tokenizer


@contextmanager
def as_model_error(name: str, kind: str = "encoder-decoder", variable: str = "LAB_MODEL") -> Iterator[None]:
    """Inside, what transformers says of a model that it cannot load becomes a ModelError.

    Args:
        name: as in the settings; kind: what the model should be; variable: the environment variable that sets it.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{name}: is no {kind} model that transformers can load; {variable} must be "
            f"a folder with its config.json, safetensors and tokenizer ({first_line(error)})"
        ) from error


def model_folder(name: str, revision: str | None, field: str = "model") -> Path:
    """The local folder of a model, fetched from the hub where its name is one of the hub's.

    Args:
        name: hub id, or absolute path; revision: of the hub; field: the setting that holds the name.
    Raises:
        ModelError: no such folder; the hub cannot be reached, or does not have it.
    """
    variable, setting = next((variable, revised) for known, revised, variable in REPLACEABLE if known == field)
    if os.path.isabs(name):
        if not (Path(name) / "config.json").is_file():
            raise ModelError(
                f"{name}: has no config.json, so it is not a model folder; set {variable} to one "
                "that save_pretrained wrote, or restore the folder from the kit's repository"
            )
        return Path(name)
    try:
        return fetch(name, revision, FILES, setting)
    except HubError as error:
        raise ModelError(
            f"{error}; or choose the profile pocket, which needs no network, or set {variable} to a model folder on "
            "this machine"
        ) from error


def weight_files(name: str, folder: Path) -> dict[str, Path]:
    """{weight: safetensors file that holds it}; opening the files finds those that are cut short."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{name}: has no safetensors file; save the model with save_pretrained, which writes one. Pickles "
            "(pytorch_model.bin) are not read, because they can hold programs"
        )
    places = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as weights:
                places |= dict.fromkeys(weights.keys(), file)
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file}: is broken or cut short at {file.stat().st_size:,} bytes ({first_line(error)}"
                "); delete it and fetch it again, or restore it from the kit's repository"
            ) from None
    return places


@contextmanager
def _without_tying_advice():
    """Keeps one warning of transformers out of the notebook, whose advice cannot be followed.

    `T5Config` sets `tie_word_embeddings` to True whatever config.json says. from_pretrained then finds that FLAN-T5's
    head differs from its embeddings, rightly leaves it alone, and advises to set what it has just overruled.
    `_keep_head` checks that the head is in place, so nothing is lost by not printing it.
    """

    def keep(record):
        return "so we will NOT tie them" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def check_report(name: str, report: dict) -> None:
    """Raises ModelError if a loaded model lacks weights, or its file has others."""
    for kind, meaning in (
        ("missing_keys", "the file lacks these weights"),
        ("unexpected_keys", "the model has no such weights"),
        ("mismatched_keys", "these weights have another shape than config.json says"),
    ):
        found = sorted(map(str, report[kind]))
        if found:
            raise ModelError(
                f"{name}: {meaning}: {', '.join(found[:5])}{' …' if len(found) > 5 else ''} ({len(found)} "
                "in all); config.json and the weights must come from the same model"
            )
    if report["error_msgs"]:
        raise ModelError(f"{name}: {report['error_msgs'][0]}")


def head_is_tied(model) -> bool:
    """Whether the output head is the same tensor as the input embeddings."""
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _keep_head(name, model, file):
    """Makes sure that the output head stored in `file`, if there is one, was loaded, and stays.

    transformers loads FLAN-T5's head as it should, but leaves config.tie_word_embeddings at True: the next
    `tie_weights()` or `resize_token_embeddings()` would silently replace the head by the embeddings. The true value
    prevents that.
    """
    head = model.get_output_embeddings().weight
    if file:
        with safe_open(file, framework="pt") as weights:
            if not torch.equal(weights.get_tensor("lm_head.weight").to(head.dtype), head):
                raise ModelError(
                    f"{name}: its output head was replaced by its embeddings while loading; install the "
                    "versions in constraints.txt"
                )
    if not head_is_tied(model):
        model.config.tie_word_embeddings = False


def check_weights(name: str, model, tokenizer) -> None:
    """Raises ModelError if weights are not finite, or too few for the tokenizer, or a known model's number is wrong."""
    broken = [weight for weight, values in model.named_parameters() if not torch.isfinite(values).all()]
    if broken:
        raise ModelError(
            f"{name}: {len(broken)} weights hold NaN or infinity, the first is {broken[0]}; training has "
            "diverged (T5 in float16 does so), or the file is damaged: fetch it or train it again"
        )
    rows = model.get_input_embeddings().num_embeddings
    if rows < len(tokenizer):
        raise ModelError(
            f"{name}: has embeddings for {rows:,} tokens, but its tokenizer knows {len(tokenizer):,}; "
            "they must come from the same model"
        )
    expected, total = PARAMETERS.get(name), count_parameters(model).total
    if expected not in (None, total):
        raise ModelError(
            f"{name}: has {total:,} parameters instead of {expected:,}; its files are not the original, "
            "or its output head was tied: install the versions in constraints.txt"
        )


def with_own_head(model):
    """A copy of a T5 that computes the same with a head apart from its embeddings.

    Where the head is the embeddings, T5 multiplies its last states by 1/√d first; the copy's head has that in its
    weights instead. Its config says what `T5Config` makes of every config: that the two are tied.
    """
    apart = copy.deepcopy(model)
    if head_is_tied(model):
        head = nn.Linear(
            model.config.d_model, model.config.vocab_size, bias=False, device=model.device, dtype=model.dtype
        )
        scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
        with torch.no_grad():
            head.weight.copy_(model.get_input_embeddings().weight * scale)
        apart.lm_head = head
        apart.config.scale_decoder_outputs = False
    apart.config.tie_word_embeddings = True
    return apart
