"""Runs: one process at a time is at a run, and a process that has died keeps nobody out."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.run_records import claimed, make_folder

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


@pytest.mark.parametrize("number, what", [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file system")])
@pytest.mark.parametrize("where", ["pathlib.Path.mkdir", "filelock.FileLock.acquire"])
def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path, monkeypatch, where, number, what):
    def refuse(*arguments, **options):
        raise OSError(number, what)

    monkeypatch.setattr(where, refuse)
    with (
        pytest.raises(PermissionError, match=f"run: cannot be written .{what}.; set LAB_RUNS"),
        claimed(tmp_path / "run"),
    ):
        pass


def test_a_folder_is_made_or_named(tmp_path, monkeypatch):
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b" and (tmp_path / "a" / "b").is_dir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="b: cannot be written .Permission denied.; set LAB_RUNS"):
        make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="file: cannot be written .*; set LAB_RUNS"):
        make_folder(tmp_path / "file")


def test_labs_make_their_folders_by_the_kit():
    """A folder that a notebook made itself would end in an error without a remedy."""
    for path in (ROOT / "labs").rglob("*.ipynb"):
        assert "mkdir(" not in path.read_text(encoding="utf-8"), path


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
