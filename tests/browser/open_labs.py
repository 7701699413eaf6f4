"""All labs of a test run: each is opened, run once by the menu, and then serves all tests that ask for it."""

from pathlib import Path

from tests.browser.notebook_page import NotebookPage

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
PATIENCE = 3000  # seconds for a whole lab; generous, since other programs may share the processor
AT_ONCE = 2  # labs that compute at the same time, with half of the cores each
RESTARTED = "01_dialogue_summarization"  # the lab whose kernel is restarted in the middle of its run
# Labs that train the same model: where none is kept, the second would write into the folder of the first while it
# trains.
AFTER = dict.fromkeys(
    ("03_ppo_detoxification", "distillation", "preference_optimization", "pruning", "quantization"),
    "02_full_vs_lora_finetuning",
)


class OpenLabs:
    """Notebooks by name. While tests look at one, the next already compute.

    Args:
        browser: Playwright's; server: a `LabServer`; order: names of the labs that will be asked for, in this order.
    """

    def __init__(self, browser, server, order):
        self.browser, self.server, self.waiting, self.opened, self.finished, self.restart = (
            browser,
            server,
            list(order),
            {},
            set(),
            {},
        )
        self.paths = {
            path.stem: path.relative_to(server.kit).as_posix() for path in Path(server.kit, "labs").glob("**/*.ipynb")
        }

    def tab(self, name: str) -> NotebookPage:
        """A notebook in a new window, opened and not run."""
        page = self.browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        notebook = NotebookPage(page, self.server, self.paths[name])
        notebook.load()
        return notebook

    def ran(self, name: str) -> NotebookPage:
        """A notebook all of whose cells have run."""
        if name not in self.opened:
            self._start(name)
        self.advance()
        if name not in self.finished:
            self.opened[name].wait_for_all(PATIENCE)
            self.finished.add(name)
        return self.opened[name]

    def advance(self):
        """Notes which labs have finished, and starts others in their places."""
        self.finished |= {name for name in self.opened.keys() - self.finished if self.opened[name].is_done()}
        for name in list(self.waiting):
            if len(self.opened.keys() - self.finished) < AT_ONCE and (
                AFTER.get(name) in self.finished | {None} or AFTER[name] not in self.paths
            ):
                self._start(name)

    def _start(self, name):
        """Opens a lab and starts all its cells."""
        self.opened[name] = self.tab(name)
        if name in self.waiting:
            self.waiting.remove(name)
        self.opened[name].run_all()
        if name == RESTARTED:  # at once: when a test asks for it, it may have ended
            self._restart(self.opened[name])

    def _restart(self, notebook):
        """Restarts the kernel while cells wait for it, runs all again, and notes what was to be seen."""
        notebook.wait(lambda: "[9]:" in notebook.prompts(), PATIENCE, "the first cells to run")
        self.restart["before"] = notebook.prompts()
        notebook.menu("Kernel", "Restart Kernel…")
        notebook.accept()
        notebook.wait(lambda: notebook.is_done() and notebook.connected(), 120, "the kernel to restart")
        self.restart["after"] = notebook.prompts()
        notebook.run_all()
