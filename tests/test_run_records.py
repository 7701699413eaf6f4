"""Runs: one process at a time is at a run, and a process that has died keeps nobody out."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.run_records import claimed

ROOT = Path(__file__).resolve().parent.parent
CLAIM_AND_DIE = """
import os, sys
from pathlib import Path
from helpers.run_records import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    os._exit(9)
"""


def test_a_second_claim_waits_for_the_first(tmp_path, monkeypatch):
    order, told = [], threading.Event()
    monkeypatch.setattr("builtins.print", lambda text, **_: (order.append(text), told.set()))

    def second():
        with claimed(tmp_path / "run"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with claimed(tmp_path / "run"):
        waiting.start()
        assert told.wait(60)
        order.append("first")
    waiting.join(60)
    assert order == ["run: another process is at this run; waiting until it has ended", "first", "second"]


def test_a_dead_process_keeps_nobody_out(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 9 and ended.stdout.strip() == "claimed"
    with claimed(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(PermissionError, match="run: cannot be written .Permission denied.; set LAB_RUNS"),
        claimed(tmp_path / "run"),
    ):
        pass


def test_kept_trainings_can_be_moved(tmp_path):
    code = "from helpers.run_records import KEPT, RUNS; print(RUNS, KEPT.parent == RUNS)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"LAB_RUNS": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ended.stdout.strip() == f"{tmp_path} True"
