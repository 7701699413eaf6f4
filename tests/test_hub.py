"""Files of the hub: their hashes, what is tried again, and how often; tests/hub has the faults of a real server."""

import hashlib
import subprocess

import pytest
from huggingface_hub.errors import HTTPError

from helpers import hardware, hub
from helpers.hub import DamagedFile, HubError, content_hash, fetch

CONTENT = b"Summarize the following conversation.\n" * 100


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def test_hashes_are_those_of_git_and_of_large_files(file):
    known = subprocess.run(["git", "hash-object", file], capture_output=True, encoding="utf-8", check=True).stdout
    assert content_hash(file, large=False) == known.strip()
    assert content_hash(file, large=True) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("error, tries", [(DamagedFile("config.json"), hub.TRIES), (OSError("the disk is full"), 1)])
def test_only_faults_that_pass_are_tried_again(monkeypatch, error, tries):
    calls = []

    def snapshot_download(**options):
        calls.append(options)
        raise error

    monkeypatch.setattr(hub, "hub_is_reachable", lambda: True)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "PAUSE", 0)
    with pytest.raises(HubError, match="some/model: "):
        fetch("some/model", None, ["*.json"], "model_revision")
    assert len(calls) == tries


@pytest.mark.parametrize("error, tries", [(HTTPError("nobody answers"), 1), (DamagedFile("config.json"), hub.TRIES)])
def test_a_request_that_the_library_has_repeated_is_not_repeated_again(monkeypatch, error, tries):
    monkeypatch.setattr(hub, "PATIENCE", 0)
    monkeypatch.setattr(hub, "PAUSE", 0)
    calls = []

    def slow():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        hub._tried(slow)
    assert len(calls) == tries


@pytest.mark.parametrize(
    "name, address", [("ALL_PROXY", "socks5://127.0.0.1:1080"), ("HTTP_PROXY", "http://proxy:port")]
)
def test_a_proxy_that_libraries_cannot_use_is_named(no_proxies, monkeypatch, tmp_path, name, address):
    monkeypatch.setenv(name, address)
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hardware, "_answers", lambda timeout: True)
    monkeypatch.setattr(hardware.hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        HubError, match=f"some/model: it cannot be fetched .*{name}.*: is no address like http://proxy.example"
    ):
        fetch("some/model", None, ["*.json"], "model_revision")


def test_the_full_disk_is_named(monkeypatch):
    def snapshot_download(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "hub_is_reachable", lambda: True)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(HubError, match="No space left on device"):
        fetch("some/model", None, ["*.json"], "model_revision")
