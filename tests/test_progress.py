"""Progress bars: few drawings, whatever the loop's length, and the newest numbers in them."""

import io

import pytest

from helpers.progress import UPDATES, progress


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
