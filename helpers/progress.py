"""Progress bars: one place that decides how they look in a notebook, in a terminal and in a log file."""

from tqdm.auto import tqdm

UPDATES = 200   # of a bar in its whole life: a reader of a notebook's messages keeps about a thousand of a cell, and drops the rest


def progress(items=None, **options):
    """A tqdm bar over `items` (or over `total=`), as a widget in notebooks and as text elsewhere.

    It is drawn at most `UPDATES` times and every half second, however long the loop: set its postfix with `refresh=False`, and the
    next drawing shows it.
    """
    total = options.get("total") or (len(items) if hasattr(items, "__len__") else 0)
    defaults = {"leave": False, "mininterval": 0.5, "miniters": max(1, -(-total // UPDATES)), "maxinterval": 60}
    return tqdm(items, dynamic_ncols=True, **defaults | options)
