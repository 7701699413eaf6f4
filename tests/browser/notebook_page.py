"""A notebook in a page of JupyterLab: what a learner does with it, and what is then to be seen."""

import json
import re
import time

# What a code cell looks like before, during and after its run, as its prompt shows it.
PROMPTS = "cells => cells.map(cell => cell.querySelector('.jp-InputPrompt').textContent.trim())"
IDLE = "idle"


class NotebookPage:
    """One notebook in one tab.

    Args:
        page: Playwright's page; server: a `LabServer`; path: of the notebook, from the kit's folder.
    """

    def __init__(self, page, server, path: str):
        self.page, self.server, self.path, self.faults = page, server, path, []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.set_default_timeout(60_000)

    def open(self):
        """Loads JupyterLab with this notebook alone, and waits for its kernel."""
        self.page.goto(self.server.address.format(self.path) + "&reset", timeout=180_000)
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=180_000)
        self.wait(lambda: self.status() == IDLE, 180, "the kernel to start")
        self.page.keyboard.press("Escape")

    def wait(self, condition, seconds: float, what: str, pause: float = 0.2):
        """Returns as soon as the condition holds.

        Raises:
            AssertionError: it does not hold in time.
        """
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
            self.page.wait_for_timeout(1000 * pause)
        return found

    def menu(self, *names: str):
        """Clicks through a menu: `menu("Run", "Run All Cells")`."""
        bar, *inside = names
        self.page.locator(".lm-MenuBar-item").filter(has_text=re.compile(f"^{bar}$")).click()
        for name in inside:
            self.page.locator(".lm-Menu-item:not(.lm-mod-disabled)").filter(has=self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{name}"))).last.click()

    def accept(self):
        """Answers a dialog with its default button."""
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def status(self) -> str:
        """The kernel as the notebook's toolbar shows it: idle, busy, …"""
        return self.page.locator(".jp-NotebookPanel:visible .jp-Notebook-ExecutionIndicator").get_attribute("data-status")

    def prompts(self) -> list[str]:
        """[1]:, [*]:, [ ]: … of all code cells, in order."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-CodeCell").evaluate_all(PROMPTS)

    def run_all(self):
        """Starts all cells, as the menu does."""
        self.menu("Run", "Run All Cells")
        self.wait(lambda: "[*]:" in self.prompts(), 60, "the first cell to start")

    def wait_for_all(self, seconds: float):
        """Until every cell has run, or one has failed."""
        self.wait(lambda: self.status() == IDLE and "[*]:" not in self.prompts(), seconds, f"{self.path} to run", pause=1)

    def save(self):
        """Saves, and gives the notebook as it then lies on the disk."""
        file = self.server.kit / self.path
        before = file.stat().st_mtime_ns
        self.menu("File", "Save Notebook")
        self.wait(lambda: file.stat().st_mtime_ns != before, 60, f"{self.path} to be saved")
        self.page.wait_for_timeout(500)
        return json.loads(file.read_text(encoding="utf-8"))
