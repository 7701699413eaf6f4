"""All labs of a test run: each is opened, run once by the menu, and then serves all tests that ask for it."""

from pathlib import Path

from notebook_page import NotebookPage

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
PATIENCE = 3000     # seconds for a whole lab; generous, since other programs may share the processor
RESTARTED = "01_dialogue_summarization"      # the lab whose kernel is restarted in the middle of its run


class OpenLabs:
    """Notebooks by name.

    Args:
        browser: Playwright's; server: a `LabServer`.
    """

    def __init__(self, browser, server):
        self.browser, self.server, self.running, self.restart = browser, server, {}, {}
        self.paths = {path.stem: path.relative_to(server.kit).as_posix() for path in Path(server.kit, "labs").glob("**/*.ipynb")
                      if ".ipynb_checkpoints" not in path.parts}

    def tab(self, name: str) -> NotebookPage:
        """A notebook in a new tab of a new window, opened and not run."""
        page = self.browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
        notebook = NotebookPage(page, self.server, self.paths[name])
        notebook.open()
        return notebook

    def ran(self, name: str) -> NotebookPage:
        """A notebook all of whose cells have run."""
        if name not in self.running:
            notebook = self.running[name] = self.tab(name)
            notebook.run_all()
            if name == RESTARTED:
                self._restart(notebook)
            notebook.wait_for_all(PATIENCE)
        return self.running[name]

    def _restart(self, notebook):
        """Restarts the kernel while cells wait for it, runs all again, and notes what was to be seen."""
        notebook.wait(lambda: notebook.prompts().count("[*]:") and "[9]:" in notebook.prompts(), PATIENCE, "the first cells to run")
        self.restart["before"] = notebook.prompts()
        notebook.menu("Kernel", "Restart Kernel…")
        notebook.accept()
        notebook.wait(lambda: notebook.status() == "idle" and "[*]:" not in notebook.prompts(), 120, "the kernel to restart")
        self.restart["after"] = notebook.prompts()
        notebook.run_all()
