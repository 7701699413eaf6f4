"""JupyterLab as `kit.py open` starts it, on a copy of the kit, so that nothing in the checkout is touched."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

KIT = Path(__file__).resolve().parents[2]
# The very command of the kit, on this Python: kit.py itself would first install the copy's environment.
OPEN = """
import sys, kit
options = kit.parse(["open", "1"])
options.notebooks = kit.choose_labs([options.lab], kit.find_labs())
sys.exit(kit.perform(options))
"""


def copy_kit(folder: Path) -> Path:
    """The kit as a learner has it: with the runs that were kept, without what only building and testing need."""
    shutil.copytree(
        KIT,
        folder,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "build", "tests", "*.egg-info", "__pycache__", ".*_cache", ".ipynb_checkpoints"
        ),
    )
    return folder


class LabServer:
    """A running JupyterLab; `address` has its token.

    Args:
        kit: the folder that kit.py lies in; place: an empty folder for settings, log and runtime files.
    """

    def __init__(self, kit: Path, place: Path, patience: float = 180):
        runtime, config = place / "runtime", place / "config"
        config.mkdir(parents=True)
        # What a test needs and a learner does not: no window of its own, another port than an open JupyterLab's.
        (config / "jupyter_server_config.json").write_text(
            json.dumps({"ServerApp": {"open_browser": False, "port": 0}}), encoding="utf-8"
        )
        environment = os.environ | {
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
            "PYTHONPATH": str(kit),
            "LAB_PROFILE": "pocket",
            "LAB_SIZE": os.environ.get("KIT_TEST_SIZE", "full"),
        }
        environment.setdefault(
            "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2))
        )  # two labs compute at once (open_labs.py)
        self.kit, self.log = kit, place / "log.txt"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", OPEN], cwd=kit, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.facts = self._wait(runtime, patience)
        self.address = f"{self.facts['url']}lab/tree/{{}}?token={self.facts['token']}"

    def _wait(self, runtime: Path, patience: float) -> dict:
        """Port and token, from the file that the server writes when it listens."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            for file in runtime.glob("jpserver-*.json"):
                try:
                    return json.loads(file.read_text(encoding="utf-8"))
                except ValueError:
                    pass  # it is being written
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(
            f"JupyterLab did not start; the end of its log:\n{self.log.read_text(encoding='utf-8')[-3000:]}"
        )

    def stop(self):
        """Ends the server together with its kernels."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
