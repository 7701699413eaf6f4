"""Lab 1's sliders over the next token's distribution: each at both ends, by keyboard, by typing, and faster than the
kernel.
"""

import base64
import re

import pytest

MOVES = 20
# Counts how often an element's text changes from now on.
COUNT = (
    "words => { words.changes = 0; new MutationObserver(() => words.changes++).observe(words, {childList: "
    "true, characterData: true, subtree: true}); }"
)


@pytest.fixture(scope="module")
def explorer(labs):
    return Explorer(labs.ran("01_dialogue_summarization"))


class Explorer:
    """The cell's sliders, its sentence and its picture."""

    def __init__(self, notebook):
        self.notebook, self.page = notebook, notebook.page
        self.cell = notebook.cell("next_token_explorer(model, tokenizer")
        self.output = self.cell.locator(".jp-OutputArea-output")

    def field(self, name):
        return self.output.get_by_role("spinbutton", name=name)

    def handle(self, name):
        return (
            self.output.locator(".widget-hbox")
            .filter(has=self.page.get_by_role("spinbutton", name=name))
            .locator(".noUi-handle")
        )

    def words(self):
        return self.output.locator(".widget-html-content").inner_text()

    def picture(self):
        source = """async picture => { await picture.decode();
            const bytes = new Uint8Array(await (await fetch(picture.src)).arrayBuffer());
                    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join('')); }"""
        return base64.b64decode(self.output.locator("img").evaluate(source))

    def settled(self, expected):
        """The sentence, once it has this in it and the kernel has nothing left to do."""
        self.notebook.wait(
            lambda: expected in self.words() and self.notebook.status() == "idle",
            120,
            f"{expected!r} in {self.words()!r}",
        )
        return self.words()

    def press(self, name, key, expected):
        self.handle(name).focus()
        self.page.keyboard.press(key)
        return self.settled(expected)

    def type(self, name, number, expected):
        self.field(name).fill(str(number))
        self.field(name).press("Enter")
        return self.settled(expected)


def drawable(words):
    """(tokens that can be drawn, tokens in all, probability of the likeliest in percent)."""
    counts = re.search(r"([\d,]+) of ([\d,]+) tokens", words).groups()
    count, total = (int(number.replace(",", "")) for number in counts)
    return count, total, float(re.search(r"([\d.]+)%", words)[1])


def test_temperature_at_both_ends_sharpens_and_flattens(explorer):
    cold, cold_picture = explorer.press("temperature", "Home", "temperature 0.05,"), explorer.picture()
    assert explorer.field("temperature").input_value() == "0.05"
    hot, hot_picture = explorer.press("temperature", "End", "temperature 2,"), explorer.picture()
    usual = explorer.type("temperature", 1, "temperature 1,")
    assert drawable(cold)[2] > drawable(usual)[2] > drawable(hot)[2]
    assert (
        cold_picture[:4] == hot_picture[:4] == b"\x89PNG" and len({cold_picture, hot_picture, explorer.picture()}) == 3
    )


def test_top_k_at_both_ends_and_one_cuts_to_so_many_tokens(explorer):
    most, picture = explorer.press("top-k", "End", "top-k 50,"), explorer.picture()
    off = explorer.press("top-k", "Home", "top-k 0,")
    assert drawable(most)[0] == 50 and drawable(off)[0] == drawable(off)[1] > 1000 and picture != explorer.picture()
    assert drawable(explorer.type("top-k", 1, "top-k 1,"))[::2] == (1, 100.0)
    explorer.type("top-k", 0, "top-k 0,")


def test_top_p_at_both_ends_cuts_the_tail(explorer):
    least, picture = explorer.press("top-p", "Home", "top-p 0.05:"), explorer.picture()
    whole = explorer.press("top-p", "End", "top-p 1:")
    assert drawable(least)[0] < 10 and drawable(whole)[0] == drawable(whole)[1] and picture != explorer.picture()
    assert drawable(least)[2] > drawable(whole)[2]


def test_a_number_beyond_the_slider_stops_at_its_end(explorer):
    assert (
        "temperature 2," in explorer.type("temperature", 99, "temperature 2,")
        and explorer.field("temperature").input_value() == "2"
    )
    assert explorer.handle("temperature").get_attribute("aria-valuetext") == "2"


def test_twenty_quick_moves_end_at_the_last_value_and_pile_nothing_up(explorer):
    explorer.press("temperature", "Home", "temperature 0.05,")
    explorer.output.locator(".widget-html-content").evaluate(COUNT)
    explorer.handle("temperature").focus()
    for _ in range(MOVES):
        explorer.page.keyboard.press("ArrowRight")
    quick, quick_picture = explorer.settled("temperature 1.05,"), explorer.picture()
    explorer.page.wait_for_timeout(1500)
    assert explorer.words() == quick and explorer.notebook.status() == "idle", "nothing comes after the last value"
    assert 1 <= explorer.output.locator(".widget-html-content").evaluate("words => words.changes") <= MOVES
    assert explorer.cell.locator(".jp-OutputArea-child").count() == 1 and explorer.output.locator("img").count() == 1
    explorer.press("temperature", "End", "temperature 2,")
    assert explorer.type("temperature", 1.05, "temperature 1.05,") == quick and explorer.picture() == quick_picture, (
        "as when moved slowly"
    )
