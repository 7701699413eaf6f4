"""Settings: profiles, where the values come from, and the errors of wrong ones."""

import dataclasses
import random
import socket

import numpy as np
import pytest
import torch

from helpers import hardware, settings as module
from helpers.settings import PROFILES, SettingsError, load_settings, seed_everything


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("LAB_PROFILE", "LAB_MODEL", "LAB_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was used: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def last_line(error):
    return str(error.value).splitlines()[-1]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_complete(profile):
    settings = load_settings(profile)
    assert settings.profile == profile and settings.is_reference
    assert settings.claims_asserted == (profile == "pocket")
    assert settings.dtype in ("float32", "bfloat16") and len(settings.dtype_reason) > 10
    assert settings.seed == 42 and settings.draws == 3
    fields = {each.name for each in dataclasses.fields(settings)}
    assert set(PROFILES[profile]) | {"profile", "dtype_reason", "size"} == fields


def test_pocket_lies_next_to_the_package_and_asks_nobody(no_network):
    settings = load_settings("pocket")
    assert settings.model == str(module.POCKET / "model") and settings.data == str(module.POCKET / "data")
    assert module.POCKET.is_absolute() and (module.POCKET.parent / "helpers" / "settings.py").is_file()
    assert settings.test_rows == 200 and settings.max_prompt_tokens == 1024


def test_without_a_gpu_the_default_is_pocket_and_the_network_is_not_looked_at(monkeypatch, no_network):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_settings().profile == "pocket"


@pytest.mark.parametrize("reachable, profile", [(True, "base"), (False, "pocket")])
def test_with_a_gpu_the_hub_decides(monkeypatch, reachable, profile):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "hub_is_reachable", lambda: reachable)
    assert module.default_profile() == profile


def test_hub_that_does_not_answer_is_unreachable(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hardware, "_silent_since", {})
    monkeypatch.setattr(hardware.urllib.request, "urlopen", refuse)
    assert not hardware.hub_is_reachable()


def test_hub_is_not_asked_in_offline_mode(monkeypatch, no_network):
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", True)
    assert not hardware.hub_is_reachable()


def test_argument_goes_before_environment(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "small")
    assert load_settings().profile == "small"
    assert load_settings("large").profile == "large"
    monkeypatch.setenv("LAB_PROFILE", "")
    monkeypatch.setattr(module, "default_profile", lambda: "pocket")
    assert load_settings().profile == "pocket"


@pytest.mark.parametrize("field, variable", [("model", "LAB_MODEL"), ("data", "LAB_DATA")])
def test_own_model_and_data(monkeypatch, model_folder, field, variable):
    monkeypatch.setenv(variable, str(model_folder))
    settings = load_settings("base")
    assert getattr(settings, field) == str(model_folder) and getattr(settings, f"{field}_revision") is None
    assert not settings.is_reference
    monkeypatch.setenv(variable, "/nowhere")  # an argument wins, so this is not even looked at
    assert getattr(load_settings("base", **{field: model_folder}), field) == str(model_folder)
    with pytest.raises(SettingsError, match=f"{variable}: '.*nowhere' does not exist; correct {variable}"):
        load_settings("base")


def test_a_name_on_the_hub_is_taken_from_the_environment_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_MODEL", "google/flan-t5-small")
    assert load_settings("pocket").model == "google/flan-t5-small"
    (tmp_path / "google").mkdir()
    with pytest.raises(SettingsError, match="flan-t5-small' does not exist; .* has the form owner/name"):
        load_settings("pocket")  # a folder of this name is here: a path was meant
    monkeypatch.delenv("LAB_MODEL")
    monkeypatch.setenv("LAB_DATA", "mine/rows.csv")
    with pytest.raises(SettingsError, match="rows.csv' does not exist"):
        load_settings("pocket")


def test_what_may_not_be_read_is_named(monkeypatch, model_folder):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.Path, "stat", refuse)
    with pytest.raises(SettingsError, match="data: .* cannot be read; give yourself the right to read it"):
        load_settings("pocket", data=str(model_folder))


def test_own_model_keeps_its_own_revision_only(model_folder):
    assert load_settings("base", model="somebody/some-model").model_revision is None
    assert load_settings("base", model="somebody/some-model", model_revision="v2").model_revision == "v2"
    assert load_settings("base", model="somebody/some-model").model == "somebody/some-model"


def test_relative_paths_become_absolute(monkeypatch, model_folder):
    monkeypatch.chdir(model_folder.parent)
    for value in ("my-model", "./my-model"):
        assert load_settings("pocket", model=value).model == str(model_folder)


def test_model_folder_needs_a_config(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_MODEL", str(tmp_path))
    with pytest.raises(SettingsError, match="LAB_MODEL: .* has no config.json"):
        load_settings("pocket")
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(SettingsError, match="is an adapter, not a whole model; merge it"):
        load_settings("pocket")


@pytest.mark.parametrize("override", [{"test_rows": 5}, {"seed": 1}, {"max_new_tokens": 5}, {"dtype": "bfloat16"}])
def test_changed_measurements_assert_no_claims(override):
    settings = load_settings("pocket", **override)
    assert settings.is_reference and not settings.claims_asserted


def test_speed_changes_no_claims():
    assert load_settings("pocket", generation_batch_size=4, device="cpu").claims_asserted


@pytest.mark.parametrize(
    "profile, overrides, message",
    [
        ("bse", {}, "profile: 'bse' is not one of pocket, small, base, large"),
        (3, {}, "profile: 3 is not one of pocket, small, base, large"),
        (
            "pocket",
            {"batchsize": 3},
            "batchsize: no such setting (value 3); the settings are model, model_revision, data",
        ),
        ("pocket", {"batch_size": 0}, "batch_size: 0 is not a whole number from 1 to"),
        ("pocket", {"batch_size": 2.0}, "batch_size: 2.0 is not a whole number"),
        ("pocket", {"draws": True}, "draws: True is not a whole number"),
        ("pocket", {"seed": -1}, "seed: -1 is not a whole number from 0 to 4294967295"),
        ("pocket", {"dtype": "float16"}, "dtype: 'float16' overflows inside T5"),
        ("pocket", {"dtype": "int4"}, "dtype: 'int4' is not one of float32, bfloat16"),
        ("pocket", {"device": "tpu"}, "device: 'tpu' is not one of"),
        ("pocket", {"model": ""}, "model: '' is not a text"),
        ("pocket", {"model": None}, "model: None is not a text"),
        ("pocket", {"data": 7}, "data: 7 is not a text"),
        ("pocket", {"data": "./no/such/folder"}, "does not exist; correct data"),
        ("pocket", {"model_revision": 5}, "model_revision: 5 is not a commit"),
    ],
)
def test_wrong_values_name_field_value_and_choices(profile, overrides, message):
    with pytest.raises(SettingsError) as error:
        load_settings(profile, **overrides)
    assert message in last_line(error)


def test_wrong_profile_in_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "tiny")
    with pytest.raises(SettingsError, match="^LAB_PROFILE: 'tiny' is not one of pocket, small, base, large$"):
        load_settings()


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_settings("pocket").seed = 1


@pytest.mark.parametrize(
    "bf16, amx, dtype", [(False, False, "float32"), (True, False, "bfloat16"), (False, True, "bfloat16")]
)
def test_dtype_follows_the_processor(monkeypatch, bf16, amx, dtype):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    settings = load_settings("small", device="cpu")
    assert settings.dtype == dtype and "bfloat16" in settings.dtype_reason
    assert load_settings("small", device="cpu", dtype="float32").dtype_reason == "set by hand"
    assert load_settings("pocket").dtype == "float32"


@pytest.mark.parametrize("bf16, dtype", [(True, "bfloat16"), (False, "float32")])
def test_dtype_follows_the_gpu(monkeypatch, bf16, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    assert hardware.choose_dtype("cuda")[0] == dtype


def test_one_seed_for_every_generator():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the generator that is seeded

    seed_everything(load_settings("pocket"))
    first = draw()
    seed_everything(load_settings("pocket"))
    assert draw() == first
    seed_everything(load_settings("pocket", seed=7))
    assert all(one != other for one, other in zip(draw(), first))


def test_quick_size_lowers_counts_and_asserts_what_is_exact_alone(monkeypatch):
    full = load_settings("pocket")
    assert full.size == "full" and full.claims_asserted and full.exact_asserted and full.scaled(300) == 300
    monkeypatch.setenv("LAB_SIZE", "quick")
    quick = load_settings("pocket")
    assert quick.train_steps < full.train_steps and quick.test_rows < full.test_rows
    assert not quick.claims_asserted and quick.exact_asserted
    assert quick.scaled(300) == 12 and quick.scaled(10) == 2 and quick.scaled(1) == 1 and quick.scaled(64, least=8) == 8
    assert load_settings("pocket", train_steps=77).train_steps == 77
    assert not load_settings("base", device="cpu").exact_asserted
