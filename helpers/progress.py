"""Progress bars: one place that decides how they look in a notebook, in a terminal and in a log file."""

from IPython.display import DisplayHandle
from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook

UPDATES = 200   # of a bar in its whole life: a reader of a notebook's messages keeps about a thousand of a cell, and drops the rest


class Bar(tqdm):
    """A bar that takes its output along when it goes: a notebook would keep a view of nothing, "Error displaying widget" once it is reopened."""

    def __init__(self, *arguments, **options):
        as_widget = issubclass(tqdm, tqdm_notebook)
        super().__init__(*arguments, **options, **({"display": False} if as_widget else {}))
        self.handle = DisplayHandle() if as_widget and not self.disable else None
        if self.handle:
            self.handle.display(self.container)

    def close(self):
        """Ends the bar; one that stays visible keeps its output."""
        closed = self.disable
        super().close()
        if not closed and self.handle and not self.leave and self.container.comm is None:
            self.handle.update({}, raw=True)


def progress(items=None, **options):
    """A tqdm bar over `items` (or over `total=`), as a widget in notebooks and as text elsewhere.

    It is drawn at most `UPDATES` times and every half second, however long the loop: set its postfix with `refresh=False`, and the
    next drawing shows it.
    """
    total = options.get("total") or (len(items) if hasattr(items, "__len__") else 0)
    defaults = {"leave": False, "mininterval": 0.5, "miniters": max(1, -(-total // UPDATES)), "maxinterval": 60}
    return Bar(items, dynamic_ncols=True, **defaults | options)
