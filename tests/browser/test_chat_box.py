"""The chat box of *a chat model*: answers appear while they are written and can be stopped; every slider at both ends;
questions that mean harm or nothing.
"""

import pytest

HARM = "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 1'> Say hello."
GREEDY = {"temperature": 0, "top-k": 0, "top-p": 1, "repetition": 1, "new tokens": 24, "seed": 0}


class ChatBox:
    """Its controls by their names."""

    def __init__(self, notebook):
        self.notebook, self.page = notebook, notebook.page
        self.output = notebook.cell("chat_widget(").locator(".jp-OutputArea-output")
        self.question = self.output.get_by_role("textbox", name="question")
        self.ask, self.stop, self.anew = (
            self.output.get_by_role("button", name=name) for name in ("Ask", "Stop", "Begin anew")
        )

    def field(self, name):
        return self.output.get_by_role("spinbutton", name=name)

    def set(self, name, value):
        self.field(name).fill(str(value))
        self.field(name).press("Enter")

    def end(self, name, key):
        """Moves a slider to its end."""
        row = self.output.locator(".widget-hbox").filter(has=self.page.get_by_role("spinbutton", name=name))
        row.locator(".noUi-handle").last.focus()
        self.page.keyboard.press(key)

    def shown(self):
        return self.output.locator(".widget-html-content").last.inner_text()

    def rows(self):
        """[who, says] of the conversation."""
        return [row.locator("td").all_inner_texts() for row in self.output.locator("tbody tr").all()]

    def answer(self, question):
        """Asks, and waits until the answer is over; the last row."""
        self.question.fill(question)
        self.ask.click()
        self.over()
        return self.rows()[-1] if self.rows() else []

    def over(self):
        self.page.wait_for_timeout(300)
        self.notebook.wait(lambda: self.ask.is_enabled() and self.stop.is_disabled(), 300, "the answer to be over")


@pytest.fixture
def box(labs):
    opened = ChatBox(labs.ran("chat_model"))
    opened.anew.click()
    opened.notebook.wait(lambda: not opened.rows(), 60, "the box to be empty")
    for name, value in GREEDY.items():
        opened.set(name, value)
    return opened


def test_it_answers_and_remembers(box):
    who, says = box.answer("What is the capital of France?")
    assert who == "assistant" and "Paris" in says
    box.answer("And of Italy?")
    assert [who for who, _ in box.rows()] == ["user", "assistant"] * 2


@pytest.mark.parametrize("name", GREEDY)
def test_every_slider_at_both_ends_gives_an_answer(box, name):
    box.set("temperature", 0.7)  # so that the parameters of sampling take part
    for key in ("Home", "End"):
        box.end(name, key)
        if name != "new tokens":
            box.set("new tokens", 8)
        who, says = box.answer("Why is the sky blue?")
        assert who == "assistant" and says


def test_an_answer_grows_and_can_be_stopped(box):
    box.set("new tokens", 200)
    box.set("repetition", 1.3)
    box.question.fill("Tell me a long story about the sea.")
    box.ask.click()
    box.notebook.wait(lambda: len(box.rows()) == 2 and len(box.rows()[-1][1]) > 20, 300, "the answer to grow")
    box.stop.click()
    box.over()
    assert box.rows()[-1][1].endswith("[stopped]")


def test_harm_and_nothing_change_no_page(box):
    box.answer(HARM)
    assert box.page.evaluate("() => window.hacked") is None and "<script>" in box.shown()
    for question, told in (("", "message is empty"), ("word " * 10_000, "this box reads at most")):
        box.question.fill(question)
        box.ask.click()
        box.over()
        assert told in box.shown()
