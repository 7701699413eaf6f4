"""Progress: bars that look right in a notebook, in a terminal and in a log file, and listeners that take little of a
training's time.
"""

import math
import time
from contextlib import contextmanager

from IPython.display import DisplayHandle
from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook
from transformers.utils import logging as hf_logging

VIEW = "application/vnd.jupyter.widget-view+json"  # how a notebook file names the output in which a widget is shown
# Of a bar in its whole life: a reader of a notebook's messages keeps about a thousand of a cell, and drops the rest.
UPDATES = 200
SHARE = (
    0.05  # of a training's time, for its listener at most: to draw a picture takes longer than a step of a small model
)


class Bar(tqdm):
    """A bar that takes its output along when it goes: a notebook would keep a view of nothing, "Error displaying
    widget" once it is reopened.
    """

    handle = None

    def __init__(self, *arguments, **options):
        as_widget = issubclass(tqdm, tqdm_notebook)
        super().__init__(*arguments, **options, **({"display": False} if as_widget else {}))
        if as_widget and not self.disable:
            self.handle = DisplayHandle()
            # Not the container itself: ipywidgets 7, which Colab has, would show it in an output that no handle
            # reaches.
            self.handle.display(
                {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.container.model_id}, "text/plain": ""},
                raw=True,
            )

    def close(self):
        """Ends the bar; one that stays visible keeps its output."""
        closed = self.disable
        super().close()
        if not closed and self.handle and not self.leave and self.container.comm is None:
            self.handle.update({}, raw=True)


def progress(items=None, **options):
    """A tqdm bar over `items` (or over `total=`), as a widget in notebooks and as text elsewhere.

    It is drawn at most `UPDATES` times and every half second, however long the loop: set its postfix with
    `refresh=False`, and the next drawing shows it.
    """
    total = options.get("total") or (len(items) if hasattr(items, "__len__") else 0)
    defaults = {"leave": False, "mininterval": 0.5, "miniters": max(1, -(-total // UPDATES)), "maxinterval": 60}
    return Bar(items, dynamic_ncols=True, **defaults | options)


class Sparing:
    """Calls a listener so rarely that it takes at most `SHARE` of the time. What it has missed it hears at `finish`, if
    that was the newest.

    Args:
        listener: called with whatever this is called with, or None; clock: gives seconds.
    """

    def __init__(self, listener, clock=time.perf_counter):
        self.listener, self.clock = listener, clock
        self.next, self.missed = -math.inf, None

    def __call__(self, *numbers):
        if self.listener is not None:
            self.missed = numbers
            if self.clock() >= self.next:
                self.finish()

    def finish(self):
        """Calls the listener with the newest numbers, unless it has heard them."""
        if self.missed is not None:
            started, numbers, self.missed = self.clock(), self.missed, None
            self.listener(*numbers)
            ended = self.clock()
            self.next = ended + (ended - started) * (1 / SHARE - 1)


@contextmanager
def one_bar():
    """Keeps transformers from drawing a bar of its own for every file that it reads; each would leave a view of nothing
    in a saved notebook.
    """
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()
