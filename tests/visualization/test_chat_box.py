"""The chat box: sliders at both ends, harmless pages for bad questions, a stop that stops, text that is escaped."""

import html
import threading
import time

import ipywidgets
import pytest

from helpers.visualization.chat_box import SLIDERS, chat_pages, chat_widget
from tests.conftest import DIALOGUES
from tests.tiny_world import tiny_chat_tokenizer, tiny_llama
from tests.visualization.test_widgets import every, sliders

USUAL = {name: ends["value"] for name, ends in SLIDERS.items()} | {"max_new_tokens": 6, "limit": 128}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_chat_tokenizer(DIALOGUES, pad_token="</s>")


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_llama(tokenizer)


@pytest.fixture
def pages(model, tokenizer):
    """`chat_pages` as a function of what differs from USUAL: its pages, and the conversation afterwards."""

    def call(question="Does he bite?", messages=(), **changed):
        conversation = list(messages)
        return list(chat_pages(model, tokenizer, conversation, question, **{**USUAL, **changed})), conversation

    return call


@pytest.mark.parametrize(("name", "end"), [(name, end) for name in SLIDERS for end in ("min", "max")])
def test_every_slider_at_both_ends(pages, name, end):
    shown, conversation = pages(**{name: SLIDERS[name][end]})
    assert [message["role"] for message in conversation] == ["user", "assistant"]
    assert len(shown) >= 2 and "<table" in shown[-1] and "[stopped]" not in shown[-1]


def test_one_seed_one_answer_and_zero_is_greedy(pages):
    hot = {"temperature": 2.0, "top_p": 1.0, "max_new_tokens": 12}
    assert pages(**hot, seed=3)[1] == pages(**hot, seed=3)[1] != pages(**hot, seed=4)[1]
    assert pages(temperature=0.0, seed=3)[1] == pages(temperature=0.0, seed=4)[1]


def test_an_answer_sees_the_conversation_before_it(pages):
    before = [{"role": "user", "content": "Is it mine?"}, {"role": "assistant", "content": "It is yours."}]
    shown, conversation = pages("Why?", before)
    assert conversation[:2] == before and len(conversation) == 4 and "It is yours." in shown[0]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "the user&#x27;s message is empty"),
        (" \n ", "the user&#x27;s message is empty"),
        ("word " * 10_000, "and this box reads at most 128"),
        ("half a character: \ud83d", "holds half a character"),
    ],
)
def test_a_bad_question_is_a_message_and_changes_nothing(pages, question, message):
    before = [{"role": "user", "content": "Is it mine?"}, {"role": "assistant", "content": "It is yours."}]
    shown, conversation = pages(question, before)
    assert len(shown) == 1 and message in shown[0] and "It is yours." in shown[0] and conversation == before
    assert len(shown[0]) < 3000


def test_what_was_asked_and_written_is_escaped(pages, monkeypatch):
    monkeypatch.setattr("helpers.visualization.chat_box.stream", lambda *_, **__: iter(["<script>alert(1)</script>"]))
    shown, conversation = pages("<script>alert(2)</script>")
    assert all("<script" not in page for page in shown) and shown[-1].count("&lt;script&gt;") == 2
    assert conversation[1]["content"] == "<script>alert(1)</script>"


def test_stopped_it_keeps_what_was_written(model, tokenizer):
    stop, conversation = threading.Event(), []
    options = {**USUAL, "max_new_tokens": 120, "temperature": 2.0, "top_p": 1.0}
    shown = []
    for page in chat_pages(model, tokenizer, conversation, "Why?", stop=stop, **options):
        shown.append(page)
        if len(shown) == 3:
            stop.set()
    written = conversation[1]["content"]
    assert f"{html.escape(written)} [stopped]" in shown[-1] and written != "(nothing)"
    assert len(tokenizer(written)["input_ids"]) < 100


def settled(box, seconds=30):
    """Waits until the answer is over."""
    ask = next(button for button in every(box, ipywidgets.Button) if button.description == "Ask")
    end = time.monotonic() + seconds
    while ask.disabled and time.monotonic() < end:
        time.sleep(0.01)
    assert not ask.disabled
    return next(page for page in every(box, ipywidgets.HTML))


def test_the_buttons_ask_stop_and_begin_anew(model, tokenizer):
    box = chat_widget(model, tokenizer, 128, "Does he bite?")
    buttons = {button.description: button for button in every(box, ipywidgets.Button)}
    assert len(sliders(box)) == len(SLIDERS) and buttons["Stop"].disabled
    for slider in sliders(box):
        if (slider.min, slider.max) == (1, 200):
            slider.value = 100
    buttons["Ask"].click()
    buttons["Stop"].click()
    page = settled(box)
    assert "Does he bite?" in page.value and buttons["Stop"].disabled
    buttons["Ask"].click()
    assert settled(box).value.count("Does he bite?") == 2, "the conversation goes on"
    buttons["Begin anew"].click()
    assert page.value == ""
    every(box, ipywidgets.Textarea)[0].value = ""
    buttons["Ask"].click()
    assert "is empty" in settled(box).value
