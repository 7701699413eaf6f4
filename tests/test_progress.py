"""Progress: few drawings, whatever the loop's length, the newest numbers in them, and little time for listeners."""

import io

import pytest
from hypothesis import given, strategies as st
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from cli.run import ENCRYPTED, ThisPython
from helpers.progress import SHARE, UPDATES, VIEW, Sparing, progress


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
    sources = [
        "from helpers.progress import progress\nprint(sum(progress(range(3))))",
        "print(sum(progress(range(3), leave=True)))",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_manager_class=ThisPython, config=ENCRYPTED).execute()
    gone, left = ([VIEW in output.get("data", {}) for output in cell.outputs] for cell in notebook.cells)
    assert not any(gone) and sum(left) == 1
    assert all(any(output.get("text") == "3\n" for output in cell.outputs) for cell in notebook.cells)


class Clock:
    """Seconds that pass only when something is done."""

    now = 0.0

    def __call__(self):
        return self.now


@given(
    steps=st.lists(st.floats(0, 10), min_size=1, max_size=60),
    costs=st.lists(st.floats(0, 10), min_size=60, max_size=60),
)
def test_a_listener_takes_a_small_share_of_the_time_and_hears_the_newest(steps, costs):
    clock, heard, spent, at_most = Clock(), [], [0.0], max(costs)

    def listen(number):
        heard.append(number)
        spent.append(costs[number])
        clock.now += costs[number]

    sparing = Sparing(listen, clock)
    for number, seconds in enumerate(steps):
        clock.now += seconds
        sparing(number)
        assert sum(spent) <= SHARE * clock.now + at_most + 1e-6  # of the last call the time has yet to come
    sparing.finish()
    sparing.finish()
    assert heard == sorted(set(heard)) and heard[0] == 0 and heard[-1] == len(steps) - 1


def test_a_listener_that_takes_no_time_hears_everything():
    heard, clock = [], Clock()
    sparing = Sparing(heard.append, clock)
    for number in range(5):
        sparing(number)
        assert heard[-1] == number
    sparing.finish()
    assert heard == list(range(5))


def test_no_listener_is_never_called():
    sparing = Sparing(None)
    sparing(1)
    sparing.finish()
