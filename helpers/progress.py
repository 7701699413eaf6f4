"""Progress bars: one place that decides how they look in a notebook, in a terminal and in a log file."""

from tqdm.auto import tqdm


def progress(items=None, **options):
    """A tqdm bar over `items` (or over `total=`), as a widget in notebooks and as text elsewhere."""
    return tqdm(items, dynamic_ncols=True, leave=options.pop("leave", False), **options)
