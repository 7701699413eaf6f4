"""Compressed models on disk: safetensors and nothing else, bit for bit; a file for other hardware says so before
anything is computed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict, unflatten_tensor_state_dict
from torchao.utils import TorchAOBaseTensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from helpers.compression.quantization import pack, unpack
from helpers.compression.quantized_models import restore_nf4
from helpers.models.cpu import prepare_for_cpu
from helpers.models.loading import head_is_tied
from helpers.run_records import make_folder

WEIGHTS, NOTES = "model.safetensors", "compressed"
ANYWHERE = ("cpu", "cuda", "mps")
# Forms of a weight, and the devices that compute with them; the last ones are laid out for one kind of hardware's
# kernels.
RUNS_ON = {
    "Tensor": ANYWHERE,
    "Int8Tensor": ANYWHERE,
    "IntxUnpackedToInt8Tensor": ANYWHERE,
    "Int4Tensor": ("cuda",),
    "Int4TilePackedTo4dTensor": ("cuda",),
    "Int4PlainInt32Tensor": ("xpu", "npu"),
    "Float8Tensor": ("cuda",),
}


class CompressedError(RuntimeError):
    """A compressed model that cannot be loaded here; the message says what was found and what to do."""


def save_compressed(model, tokenizer, folder) -> Path:
    """Writes weights, configuration and tokenizer; integers of fewer than 8 bits are packed, a tensor with several
    names is written once.

    Args:
        model: a PEFT model's adapter gets a file of its own beside that of the base: 4-bit weights could not take it up
            without another rounding.
    Returns:
        the folder, as a path.
    """
    folder = make_folder(Path(folder))
    (folder / SAFETENSORS_WEIGHTS_NAME).unlink(missing_ok=True)  # of a model that was saved here before
    if isinstance(model, PeftModel):
        model.save_pretrained(folder)
        (folder / "README.md").unlink()  # peft's form of a model card, not filled in
        model = copy.deepcopy(model).unload()
    first, tensors, names = {}, {}, {}
    for name, weight in model.state_dict(keep_vars=True).items():
        names[name] = first.setdefault(id(weight), name)
        if names[name] == name:
            tensors[name] = (
                weight if isinstance(weight, TorchAOBaseTensor) else weight.detach().as_subclass(torch.Tensor)
            )
    flat, metadata = flatten_tensor_state_dict(tensors)
    packed = {}
    for name, weight in tensors.items():
        bits = int(str(getattr(weight, "target_dtype", "int8")).rpartition("int")[2])
        if bits < 8:
            key = "._".join(name.rsplit(".", 1)) + "_qdata"
            packed[key] = [bits, list(flat[key].shape)]
            flat[key] = pack(flat[key].cpu(), bits)
    notes = {
        "same": {name: other for name, other in names.items() if name != other},
        "packed": packed,
        "dtype": str(model.dtype).removeprefix("torch."),
        "made on": f"{model.device.type} ({platform.machine()}, torchao {version('torchao')}, torch "
        f"{torch.__version__})",
    }
    save_file(
        {key: value.contiguous() for key, value in flat.items()},
        folder / WEIGHTS,
        metadata | {NOTES: json.dumps(notes), "format": "pt"},
    )
    for part in (model.config, model.generation_config, tokenizer):
        part.save_pretrained(folder)
    return folder


def _read(folder):
    """(tensors by their name in the file, torchao's notes, the kit's own)."""
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            keys, metadata = file.keys(), file.metadata() or {}
            return {key: file.get_tensor(key) for key in keys}, metadata, json.loads(metadata[NOTES])
    except (OSError, SafetensorError) as error:
        raise CompressedError(
            f"{path}: is missing, broken or cut short ({str(error).splitlines()[0]}); compress the model again"
        ) from None
    except KeyError:
        raise CompressedError(
            f"{path}: was not written by save_compressed; load it as the ordinary model that it is "
            "(helpers.models.loading.load_seq2seq)"
        ) from None


def _check_hardware(folder, metadata, notes, device):
    forms = Counter(json.loads(metadata[name]).get("_type") for name in json.loads(metadata["tensor_names"]))
    for form, count in forms.items():
        devices = RUNS_ON.get(form.rpartition(".")[2], ())
        if device not in devices:
            known = " or ".join(devices) or "hardware unknown to the kit"
            raise CompressedError(
                f"{folder}: {count} weights are {form}, a form for {known}, and this model is to run on "
                f"{device} (the file was made on "
                f"{notes['made on']}). Load it on such hardware, or compress the original model again for {device}"
            )


def load_compressed(folder, device: str = "cpu"):
    """(tokenizer, model) as `save_compressed` was given them, the weights equal bit for bit, ready for
    `helpers.models.generation.generate`.

    Raises:
        CompressedError: no such file, one that is cut short or was not written by `save_compressed`, or weights in a
            form for other hardware than `device`.
    """
    folder = Path(folder)
    flat, metadata, notes = _read(folder)
    _check_hardware(folder, metadata, notes, torch.device(device).type)
    for key, (bits, shape) in notes["packed"].items():
        flat[key] = unpack(flat[key], bits, shape)
    tensors, left = unflatten_tensor_state_dict(flat, metadata)
    if left:
        raise CompressedError(
            f"{folder / WEIGHTS}: {', '.join(sorted(left)[:3])} … belong to no weight; compress the model again"
        )
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(folder))
    tensors = restore_nf4(model, tensors, device, getattr(torch, notes["dtype"]))
    weights = {name: nn.Parameter(tensor.to(device), requires_grad=False) for name, tensor in tensors.items()}
    result = model.load_state_dict(
        weights | {name: weights[other] for name, other in notes["same"].items()}, strict=False, assign=True
    )
    missing = [name for name, weight in model.named_parameters() if weight.device.type == "meta"]
    if missing or result.unexpected_keys:
        raise CompressedError(
            f"{folder}: config.json and {WEIGHTS} are of different models (missing {missing[:3]}, too many "
            f"{result.unexpected_keys[:3]})"
        )
    model.generation_config = GenerationConfig.from_pretrained(folder)
    model.config.tie_word_embeddings = head_is_tied(model)
    model = prepare_for_cpu(model)
    if (folder / SAFETENSORS_WEIGHTS_NAME).is_file():
        model = PeftModel.from_pretrained(model, folder)
    return AutoTokenizer.from_pretrained(folder), model.eval()


def weight_files(folder) -> list[Path]:
    """The files with the weights on disk: the model's, and an adapter's beside it."""
    adapter = Path(folder) / SAFETENSORS_WEIGHTS_NAME
    return [Path(folder) / WEIGHTS, *([adapter] if adapter.exists() else [])]


def content_digest(folder) -> str:
    """SHA-256 of what the files with the weights say. Not of their bytes: safetensors writes its notes in another order
    each time.
    """
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            header = file.read(
                int.from_bytes(file.read(8), "little")
            )  # the format: its length in 8 bytes, JSON, the numbers
            digest.update(json.dumps(json.loads(header), sort_keys=True).encode())
            digest.update(file.read())
    return digest.hexdigest()


def file_bytes(folder) -> int:
    """Bytes of the weights on disk, an adapter's included."""
    return sum(path.stat().st_size for path in weight_files(folder))
