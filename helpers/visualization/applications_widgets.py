"""Controls of the lab on applications: how many documents a prompt holds, and an agent's trace step by step. They hold no logic."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from helpers.applications.agent import Trace
from helpers.applications.catalogue import open_prompt
from helpers.applications.retrieval import fit_documents
from helpers.display import notice, texts
from helpers.visualization.widgets import WIDE, with_field


def documents_page(question: str, documents: Sequence[str], tokenizer, count: int, window: int) -> str:
    """HTML of the prompt with the first `count` documents in a window of so many tokens: what fits, what is dropped, how many tokens are used.

    Args:
        documents: from best to worst.
    """
    try:
        prompt = fit_documents(documents[:count], lambda shown: open_prompt(question, shown), tokenizer, window)
    except ValueError as error:
        return notice(error)
    said = f"{prompt.tokens} of {window} tokens; documents in the prompt: {len(prompt.kept)} of {count} asked for"
    return f"<p>{said}</p>" + texts(prompt=prompt.text, dropped="\n".join(documents[number] for number in prompt.dropped) or "nothing").data


def documents_slider(question: str, documents: Sequence[str], tokenizer, window: int) -> widgets.Widget:
    """`documents_page` behind two sliders: the number of documents, and the window in tokens, up to `window`."""
    sliders = {"documents": widgets.IntSlider(value=min(3, len(documents)), min=0, max=len(documents)),
               "window": widgets.IntSlider(value=window, min=min(8, window), max=window)}
    page = widgets.HTML()

    def redraw(_=None, question=question, documents=tuple(documents), tokenizer=tokenizer):
        page.value = documents_page(question, documents, tokenizer, sliders["documents"].value, sliders["window"].value)
    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*(with_field(slider, name) for name, slider in sliders.items()), page], layout=WIDE)


def step_page(trace: Trace, number: int) -> str:
    """HTML of one step: what the model reads before it, what it writes, and what the loop answers; `number` counts from 1."""
    step = trace.steps[number - 1]
    before = Trace(trace.question, trace.steps[:number - 1]).prompt()
    return texts(f"step {number} of {len(trace.steps)}", the_model_reads=before, the_model_writes=step.written, the_loop_answers=step.observation).data


def step_slider(trace: Trace) -> widgets.Widget:
    """`step_page` behind a slider over the steps of a trace.

    Raises:
        ValueError: the trace has no steps.
    """
    if not trace.steps:
        raise ValueError("trace: has no steps; run the agent on its question first")
    slider, page = widgets.IntSlider(value=1, min=1, max=len(trace.steps)), widgets.HTML()

    def redraw(_=None, trace=trace):
        page.value = step_page(trace, slider.value)
    slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([with_field(slider, "step"), page], layout=WIDE)
