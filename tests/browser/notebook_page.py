"""A notebook in a page of JupyterLab: what a learner does with it, and what is then to be seen."""

import json
import re
import time

PANEL = ".jp-NotebookPanel:visible"
FAULTS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"


class NotebookPage:
    """One notebook in one tab.

    Args:
        page: Playwright's page; server: a `LabServer`; path: of the notebook, from the kit's folder.
    """

    def __init__(self, page, server, path: str):
        self.page, self.server, self.path, self.file, self.faults = page, server, path, server.kit / path, []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.set_default_timeout(120_000)
        sources = [
            cell["source"]
            for cell in json.loads(self.file.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        self.sources = ["".join(source) for source in sources]

    def load(self):
        """Loads JupyterLab with this notebook alone, and waits for its kernel."""
        self.page.goto(self.server.address.format(self.path) + "&reset", timeout=180_000)
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=180_000)
        self.wait(self.connected, 300, "the kernel to start")
        self.page.wait_for_timeout(1000)
        self.page.keyboard.press("Escape")

    def connected(self) -> bool:
        """Whether this notebook has a kernel that is ready and listens to the page; the page itself shows an idle one
        too early.
        """
        answer = self.page.request.get(
            f"{self.server.facts['url']}api/sessions", headers={"Authorization": f"token {self.server.facts['token']}"}
        )
        kernels = [session["kernel"] for session in answer.json() if session["path"] == self.path]
        return self.status() == "idle" and any(
            kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels
        )

    def wait(self, condition, seconds: float, what: str, pause: float = 0.2):
        """What the condition gives as soon as it is true.

        Raises:
            AssertionError: it is not in time.
        """
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
            self.page.wait_for_timeout(1000 * pause)
        return found

    def menu(self, bar: str, *names: str):
        """Clicks through a menu: `menu("Run", "Run All Cells")`."""
        self.page.locator(".lm-MenuBar-item").filter(has_text=re.compile(f"^{bar}$")).click()
        for name in names:
            label = self.page.locator(".lm-Menu-itemLabel").filter(has_text=re.compile(f"^{re.escape(name)}$"))
            self.page.locator(".lm-Menu-item").filter(has=label).last.click()

    def accept(self):
        """Answers a dialog with its default button."""
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def status(self) -> str:
        """The kernel as the notebook's toolbar shows it: idle, busy, …"""
        return self.page.locator(f"{PANEL} .jp-Notebook-ExecutionIndicator").get_attribute("data-status")

    def prompts(self) -> list[str]:
        """[1]:, [*]:, [ ]: … of all code cells, in order."""
        texts = "cells => cells.map(cell => cell.querySelector('.jp-InputPrompt').textContent.trim())"
        return self.page.locator(f"{PANEL} .jp-CodeCell").evaluate_all(texts)

    def run_all(self):
        """Starts all cells, as the menu does."""
        self.menu("Run", "Run All Cells")
        self.wait(lambda: "[*]:" in self.prompts(), 60, "the first cell to start")

    def is_done(self) -> bool:
        """Whether no cell waits for the kernel any more: all have run, or one has failed."""
        return self.status() == "idle" and "[*]:" not in self.prompts()

    def wait_for_all(self, seconds: float):
        """Returns when no cell waits any more."""
        self.wait(self.is_done, seconds, f"{self.path} to run", pause=1)

    def save(self) -> dict:
        """Saves, and gives the notebook as it then lies on the disk."""
        before = self.file.stat().st_mtime_ns
        self.menu("File", "Save Notebook")
        self.wait(lambda: self.file.stat().st_mtime_ns != before, 120, f"{self.path} to be saved")
        self.page.wait_for_timeout(1000)
        return json.loads(self.file.read_text(encoding="utf-8"))

    def cell(self, words: str):
        """The code cell whose source has these words, scrolled to."""
        (number,) = [number for number, source in enumerate(self.sources) if words in source]
        found = self.page.locator(f"{PANEL} .jp-CodeCell").nth(number)
        found.scroll_into_view_if_needed()
        return found

    def outputs(self):
        """Every output of a cell that holds a picture or a widget."""
        shown = self.page.locator(f"{PANEL} .jp-OutputArea-child")
        return shown.filter(has=self.page.locator("img, .jupyter-widgets"))

    def theme(self, name: str):
        """Light or Dark, by the menu."""
        self.menu("Settings", "Theme", f"JupyterLab {name}")
        self.page.wait_for_selector(
            f"body[data-jp-theme-light='{'true' if name == 'Light' else 'false'}']", state="attached"
        )
        self.page.wait_for_timeout(300)

    def width(self, pixels: int):
        """A window of another width."""
        self.page.set_viewport_size({"width": pixels, "height": 1200})
        self.page.wait_for_timeout(700)
