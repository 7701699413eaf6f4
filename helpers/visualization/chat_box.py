"""A chat with a decoder: a question, all parameters on sliders, the answer as it is written, and a button to stop it.

The widget holds no logic: it hands all its state to `chat_pages`, which tests call as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import ipywidgets as widgets

from helpers.display import notice, table
from helpers.models.chat import chat_prompt, stream
from helpers.models.generation import GenerationError, encode_prompts
from helpers.visualization.widgets import NAMES, TOP_K, TOP_P, WIDE, with_field

SLIDERS = {
    "temperature": {"min": 0.0, "max": 2.0, "step": 0.05, "value": 0.7},
    "top_k": {**TOP_K, "value": 0},
    "top_p": {**TOP_P, "value": 0.95},
    "repetition_penalty": {"min": 1.0, "max": 2.0, "step": 0.05, "value": 1.1},
    "max_new_tokens": {"min": 1, "max": 200, "value": 80},
    "seed": {"min": 0, "max": 99, "value": 0},
}
OWN_NAMES = NAMES | {"repetition_penalty": "repetition"}
WAITING, STOPPED = "…", " [stopped]"


def _page(messages):
    return table(("who", "says"), [(message["role"], message["content"]) for message in messages]).data


def chat_pages(
    model,
    tokenizer,
    messages: list[dict[str, str]],
    question: str,
    *,
    limit: int,
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float,
    max_new_tokens: int,
    seed: int,
    stop: threading.Event | None = None,
) -> Iterator[str]:
    """HTML of the conversation, anew after each piece of the answer; or of what is wrong with the question.

    Args:
        messages: the conversation so far, oldest first; question and answer are added when the answer is over.
        limit: tokens that the conversation may have: reading a long one takes long, and cannot be stopped.
        temperature: 0 takes the likeliest token each time; then top_k and top_p have no effect.
        stop: once it is set, no further token is written; what was written stays.
        The other arguments: as for `helpers.models.generate`.
    """
    parameters = {"max_new_tokens": max_new_tokens, "repetition_penalty": repetition_penalty}
    if temperature > 0:
        parameters |= {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    stop, written = stop or threading.Event(), ""
    asked = [*messages, {"role": "user", "content": question}]
    try:
        prompt = chat_prompt(tokenizer, asked)
        length = len(tokenizer(prompt.encode(errors="replace").decode(), verbose=False)["input_ids"])
        if length > limit:
            raise GenerationError(
                f"question: the conversation has {length:,} tokens with it, and this box reads at most {limit:,}; "
                "shorten the question, or begin anew"
            )
        encode_prompts(tokenizer, [prompt])  # names what else is wrong, before an answer seems to begin
        yield _page([*asked, {"role": "assistant", "content": WAITING}])
        for piece in stream(model, tokenizer, prompt, seed=seed, stop=stop, **parameters):
            written += piece
            yield _page([*asked, {"role": "assistant", "content": written + WAITING}])
    except GenerationError as error:
        yield (_page(messages) if messages else "") + notice(error)
        return
    said = {"role": "assistant", "content": written.strip() or "(nothing)"}
    messages += [asked[-1], said]
    yield _page([*asked, {**said, "content": said["content"] + STOPPED * stop.is_set()}])


def chat_widget(model, tokenizer, limit: int, question: str = "") -> widgets.Widget:
    """`chat_pages` behind sliders and three buttons; the answer is written in a thread, so that the page stays alive.

    Args:
        limit: as for `chat_pages`; question: what stands in the field at first.
    """
    field = widgets.Textarea(
        value=question,
        description="question",
        style={"description_width": "100px"},
        layout=widgets.Layout(width="99%", height="70px"),
    )
    kinds = {
        name: widgets.IntSlider if isinstance(ends["max"], int) else widgets.FloatSlider
        for name, ends in SLIDERS.items()
    }
    sliders = {name: kinds[name](**ends) for name, ends in SLIDERS.items()}
    ask = widgets.Button(description="Ask", button_style="primary", icon="play")
    halt = widgets.Button(description="Stop", icon="stop", disabled=True)
    anew = widgets.Button(description="Begin anew", icon="trash")
    result, messages, stop = widgets.HTML(), [], threading.Event()

    def answer(question, parameters, model=model, tokenizer=tokenizer, limit=limit):
        try:
            for page in chat_pages(model, tokenizer, messages, question, limit=limit, stop=stop, **parameters):
                result.value = page
        finally:
            ask.disabled, anew.disabled, halt.disabled = False, False, True

    def begin(_):
        ask.disabled, anew.disabled, halt.disabled = True, True, False
        stop.clear()
        parameters = {name: round(slider.value, 4) for name, slider in sliders.items()}
        threading.Thread(target=answer, args=(field.value, parameters), daemon=True).start()

    def clear(_):
        messages.clear()
        result.value = ""

    ask.on_click(begin)
    halt.on_click(lambda _: stop.set())
    anew.on_click(clear)
    cells = [with_field(slider, OWN_NAMES.get(name, name)) for name, slider in sliders.items()]
    grid = widgets.GridBox(cells, layout=widgets.Layout(grid_template_columns="repeat(auto-fit, minmax(270px, 1fr))"))
    return widgets.VBox([field, grid, widgets.HBox([ask, halt, anew]), result], layout=WIDE)
