"""Progress bars: few drawings, whatever the loop's length, and the newest numbers in them."""

import io

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from helpers.progress import UPDATES, VIEW, progress
from helpers.running import ENCRYPTED, ThisPython


@pytest.mark.parametrize("total", (1, 150, 601, 20_000))
def test_a_bar_is_drawn_a_bounded_number_of_times(total):
    """Readers of a notebook's messages drop them after about a thousand."""
    out = io.StringIO()
    with progress(total=total, file=out, mininterval=0, disable=False) as bar:
        for number in range(total):
            bar.update(1)
            bar.set_postfix(loss=number, refresh=False)
    drawn = out.getvalue().count("\r")
    assert min(total, UPDATES) / 2 <= drawn <= UPDATES + 5
    if total > 1:
        assert "loss=" in out.getvalue()


def test_a_bar_over_items_counts_them():
    out = io.StringIO()
    assert list(progress(["a", "b"], file=out, mininterval=0, leave=True)) == ["a", "b"]
    assert "2/2" in out.getvalue()


def test_a_bar_that_is_gone_leaves_no_view_of_nothing_in_a_notebook():
    """A saved view of a closed widget would be "Error displaying widget" when the notebook is opened again."""
    sources = ["from helpers.progress import progress\nprint(sum(progress(range(3))))", "print(sum(progress(range(3), leave=True)))"]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_manager_class=ThisPython, config=ENCRYPTED).execute()
    gone, left = ([VIEW in output.get("data", {}) for output in cell.outputs] for cell in notebook.cells)
    assert not any(gone) and sum(left) == 1
    assert all(any(output.get("text") == "3\n" for output in cell.outputs) for cell in notebook.cells)
