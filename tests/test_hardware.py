"""What a process holds, as the system sees it; whether the hub answers, and how long that takes to find out."""

import logging
import os
import platform
import socket
import threading
from contextlib import suppress
from queue import Queue

import pytest
import torch
from huggingface_hub.utils import _telemetry as telemetry

from helpers import hardware

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc hands freed memory back when it is asked to"
)


@pytest.fixture
def asked(no_proxies, monkeypatch):
    """Opens a port that answers as it is told, as the hub's proxy; gives how to start it, and the connections made."""
    made, serving, over = [], [], threading.Event()
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hardware, "_silent_since", {})

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(0.05)  # else the thread would wait for a question for ever

        def serve():
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    made.append(connection)
                    if answer:
                        connection.sendall(answer)
                        connection.close()
            server.close()

        serving.append(threading.Thread(target=serve))
        serving[-1].start()
        monkeypatch.setattr(hardware.hub, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        return made

    yield start
    over.set()
    for thread in serving:
        thread.join()
    for connection in made:
        connection.close()


@pytest.mark.parametrize(
    "answer, reachable", [(b"HTTP/1.1 404 Not Found\r\n\r\n", True), (b"220 no web here\r\n", False)]
)
def test_the_hub_is_reachable_where_something_speaks_http(asked, answer, reachable):
    asked(answer)
    assert hardware.hub_is_reachable() is reachable


def test_a_hub_that_says_nothing_is_asked_once(asked):
    made = asked(b"")
    assert not hardware.hub_is_reachable(timeout=0.3) and not hardware.hub_is_reachable()
    assert len(made) <= 1, "no second question; on a busy machine the first may not have arrived"


def test_no_more_is_waited_than_was_asked_for(asked, monkeypatch):
    asked(b"")
    ended = threading.Event()
    monkeypatch.setattr(hardware, "_answers", lambda timeout: ended.wait(600))
    assert not hardware.hub_is_reachable(timeout=0.1), "a name that nobody resolves has no timeout of its own"
    ended.set()


def test_a_proxy_with_a_wrong_port_is_no_traceback(asked, monkeypatch):
    monkeypatch.setattr(hardware.hub, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:port")
    assert not hardware.hub_is_reachable() and hardware.hub_advice().startswith("HTTPS_PROXY: is no address like")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:8080")
    assert hardware.hub_advice() == "is the proxy in HTTPS_PROXY right?"


class OfWindows(dict):
    """An environment that keeps names in capital letters, and finds them in any case."""

    def __contains__(self, name):
        return super().__contains__(name.upper())

    def __getitem__(self, name):
        return super().__getitem__(name.upper())

    def get(self, name, default=None):
        return super().get(name.upper(), default)


def test_a_variable_is_called_as_it_stands_in_the_environment_of_windows(monkeypatch):
    monkeypatch.setattr(os, "environ", OfWindows(ALL_PROXY="http://proxy.corp:80", HTTP_PROXY="http://proxy.corp:port"))
    assert hardware.proxy_variable() == "ALL_PROXY" and hardware.proxy_fault().startswith("HTTP_PROXY: is no address")


@pytest.mark.skipif(os.name == "nt", reason="there a variable in other letters is the same variable")
def test_of_variables_in_several_cases_the_one_in_small_letters_counts(no_proxies, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:port")
    monkeypatch.setenv("https_proxy", "http://proxy.corp:8080")
    assert hardware.proxy_fault() == "" and hardware.proxy_variable() == "https_proxy"
    monkeypatch.setenv("https_proxy", "")  # which libraries take for no proxy at all
    assert hardware.proxy_fault() == "" == hardware.proxy_variable()


@pytest.mark.parametrize("name", [*hardware.PROXIES, *map(str.upper, hardware.PROXIES), "Https_Proxy"])
@pytest.mark.parametrize(
    "address, fault",
    [
        (
            "socks5://127.0.0.1:1080",
            " (a proxy of kind 'socks5'): is no address like http://proxy",
        ),
        ("http://proxy.corp:port", ": is no address like http://proxy"),
        ("proxy.corp:8080\n", ": is no address like http://proxy"),
        ("http://[::1", ": is no address like http://proxy"),
        (" http://proxy.corp:8080", " (a blank before or after the address): is no address like http://proxy"),
        ("http://proxy.corp:8080 ", " (a blank before or after the address): is no address like http://proxy"),
        ("proxy.corp:8080", ""),
    ],
)
def test_no_library_meets_a_proxy_of_which_it_would_stop(asked, monkeypatch, name, address, fault):
    """httpx reads every one of these variables before its first request, and raises errors of its own."""
    made = asked(b"HTTP/1.1 200 OK\r\n\r\n")
    monkeypatch.setenv(name, address)
    name = next(each for each in os.environ if each.lower() == name.lower())  # Windows makes capital letters of it
    assert hardware.proxy_fault().startswith(f"{name}{fault}") if fault else hardware.proxy_fault() == ""
    if fault:
        assert not hardware.hub_is_reachable() and not made and hardware.hub_advice() == hardware.proxy_fault()
    monkeypatch.setenv("NO_PROXY", "*")
    assert hardware.proxy_fault() == "" == hardware.proxy_variable() and hardware.hub_is_reachable()


def test_the_hub_is_asked_through_a_proxy_for_everything(asked, monkeypatch):
    made = asked(b"HTTP/1.1 200 OK\r\n\r\n")
    monkeypatch.setenv("ALL_PROXY", hardware.hub.ENDPOINT)
    monkeypatch.setattr(hardware.hub, "ENDPOINT", "http://hub.invalid")
    assert hardware.proxy_variable() == "ALL_PROXY" and hardware.hub_is_reachable() and made


def test_no_library_reports_to_the_hub_what_a_learner_does(monkeypatch):
    reports = Queue()
    monkeypatch.setattr(hardware.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(telemetry, "_TELEMETRY_QUEUE", reports)
    monkeypatch.setattr(telemetry, "_start_telemetry_thread", lambda: None)
    telemetry.send_telemetry("trl/RewardTrainer", library_name="trl")
    assert reports.empty()


def test_without_the_hub_libraries_are_offline():
    from datasets import config

    before = hardware.hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    with hardware.without_hub():
        assert hardware.hub.HF_HUB_OFFLINE and config.HF_HUB_OFFLINE
    assert before == (hardware.hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE)


@needs_glibc
def test_memory_is_that_of_what_is_held_not_of_what_was_needed_on_the_way():
    found = hardware.resident_bytes(lambda: (torch.ones(2**23) * 2 + 1).half())  # 16 MiB are held, 64 were needed
    assert found == pytest.approx(2**24, rel=0.15)


def test_without_glibc_nothing_is_handed_back(monkeypatch):
    monkeypatch.setattr(hardware.sys, "platform", "win32")
    assert hardware.release_freed_memory() is False


@pytest.mark.parametrize(
    "name, message",
    [
        ("torchao", "Failed to load /x/_C_mxfp8.so: no such library"),
        ("torch.utils._pytree", "X is an Enum subclass and is now natively supported by"),
    ],
)
def test_what_libraries_say_at_import_about_parts_that_the_kit_does_not_use_is_left_out(caplog, name, message):
    logging.getLogger(name).warning(message)
    logging.getLogger(name).warning("something worth reading")
    assert [record.getMessage() for record in caplog.records] in (
        ["something worth reading"],
        [],
    )  # torch's own loggers do not propagate
    assert not logging.getLogger(name).filter(logging.makeLogRecord({"msg": message}))
