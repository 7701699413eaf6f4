"""Runs: one process at a time is at a run, and a process that has died keeps nobody out."""

import subprocess
import sys
import threading
from pathlib import Path

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


def test_a_second_claim_waits_for_the_first(tmp_path, capsys):
    order, begun = [], threading.Event()

    def second():
        begun.set()
        with claimed(tmp_path / "run"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with claimed(tmp_path / "run"):
        waiting.start()
        begun.wait()
        waiting.join(1)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"] and "run: another process is at this run; waiting" in capsys.readouterr().err


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
