"""What a process holds, as the system sees it."""

import logging
import platform

import pytest
import torch

from helpers import hardware

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc hands freed memory back when it is asked to"
)


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
