"""Widgets of single labs: documents in a prompt, an agent's trace, attention heads, merges, rankings, revisions.

They hold no logic: each hands all its state to a function that tests call as well.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from IPython.display import HTML
from matplotlib.figure import Figure

from helpers.alignment.human_feedback import FeedbackError, FeedbackStore, RankingSession
from helpers.applications.agent import Trace
from helpers.applications.retrieval import fit_documents
from helpers.display import notice, table, texts, tokens
from helpers.transformer.attention import KINDS, Maps, pieces
from helpers.transformer.tokenizers import SPACE, bpe_cut, marked
from helpers.visualization.heatmaps import plot_attention
from helpers.visualization.widgets import PICTURE, WIDE, png, with_field

VIEWS = {
    "encoder looks at itself": "encoder",
    "decoder looks at what it has written": "decoder",
    "decoder looks at the prompt": "cross",
}


def documents_page(
    documents: Sequence[str], build: Callable[[Sequence[str]], str], tokenizer, count: int, window: int
) -> str:
    """HTML of the prompt with the first `count` documents in a window of so many tokens: what fits, what is dropped,
    how many tokens are used.

    Args:
        documents: from best to worst; build: documents -> prompt, with the question in it.
    """
    try:
        prompt = fit_documents(documents[:count], build, tokenizer, window)
    except ValueError as error:
        return notice(error)
    said = f"{prompt.tokens} of {window} tokens; documents in the prompt: {len(prompt.kept)} of {count} asked for"
    return (
        f"<p>{said}</p>"
        + texts(prompt=prompt.text, dropped="\n".join(documents[number] for number in prompt.dropped) or "nothing").data
    )


def documents_slider(
    documents: Sequence[str], build: Callable[[Sequence[str]], str], tokenizer, window: int
) -> widgets.Widget:
    """`documents_page` behind two sliders: the number of documents, and the window in tokens, up to `window`."""
    sliders = {
        "documents": widgets.IntSlider(value=min(3, len(documents)), min=0, max=len(documents)),
        "window": widgets.IntSlider(value=window, min=min(8, window), max=window),
    }
    page = widgets.HTML()

    def redraw(_=None, documents=tuple(documents), build=build, tokenizer=tokenizer):
        page.value = documents_page(documents, build, tokenizer, sliders["documents"].value, sliders["window"].value)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*(with_field(slider, name) for name, slider in sliders.items()), page], layout=WIDE)


def step_page(trace: Trace, number: int) -> str:
    """HTML of one step: what the model reads before it, what it writes, and what the loop answers; `number` counts from
    1.
    """
    step = trace.steps[number - 1]
    before = Trace(trace.question, trace.steps[: number - 1]).prompt()
    return texts(
        f"step {number} of {len(trace.steps)}",
        the_model_reads=before,
        the_model_writes=step.written,
        the_loop_answers=step.observation,
    ).data


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


def attention_figure(maps: Maps, tokenizer, kind: str, layer: int, head: int) -> Figure:
    """One head's weights as a heat map; layer and head are counted from 0.

    Args:
        kind: "encoder", "decoder" or "cross".
    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    prompt, written = pieces(tokenizer, maps.prompt), pieces(tokenizer, maps.completion)
    read = ["start", *written[:-1]]  # what the decoder is given is what it has written, one step late
    rows, columns = {"encoder": (prompt, prompt), "decoder": (written, read), "cross": (written, prompt)}[kind]
    who = "the token that looks" if kind == "encoder" else "the token to be written"
    return plot_attention(getattr(maps, kind)[layer, head], rows, columns, f"layer {layer}, head {head}", who)


def attention_explorer(maps: Maps, tokenizer) -> widgets.Widget:
    """A drop-down for the kind of attention, sliders for layer and head."""
    view = widgets.Dropdown(
        options=list(VIEWS.items()), value="cross", description="attention", style={"description_width": "100px"}
    )
    layers, heads = maps.cross.shape[:2]
    sliders = [
        widgets.IntSlider(value=layers - 1, min=0, max=layers - 1),
        widgets.IntSlider(value=0, min=0, max=heads - 1),
    ]
    picture = widgets.Image(format="png", layout=PICTURE)

    def redraw(_=None, maps=maps, tokenizer=tokenizer):
        layer, head = (slider.value for slider in sliders)
        layer = min(
            layer, len(getattr(maps, view.value)) - 1
        )  # encoder and decoder may have different numbers of layers
        picture.value = png(attention_figure(maps, tokenizer, view.value, layer, head))

    for control in (view, *sliders):
        control.observe(redraw, "value")
    redraw()
    return widgets.VBox([view, *map(with_field, sliders, ("layer", "head")), picture])


def merges_html(text: str, merges: Sequence[str], count: int) -> str:
    """HTML of the text's pieces after the first `count` merges, and of the merge that came last."""
    found = bpe_cut(marked(text), merges[:count])
    last = f"; the last one made “{html.escape(merges[count - 1].replace(SPACE, '␣'))}”" if count else ""
    return (
        f"<p>{len(found)} pieces after {count} merges{last}</p>"
        + tokens([piece.replace(SPACE, "␣") for piece in found]).data
    )


def merges_explorer(text: str, merges: Sequence[str]) -> widgets.Widget:
    """A slider over the number of merges."""
    slider, shown = widgets.IntSlider(value=len(merges) // 10, min=0, max=len(merges)), widgets.HTML()

    def redraw(_=None, text=text, merges=tuple(merges)):
        shown.value = merges_html(text, merges, slider.value)

    slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([with_field(slider, "merges"), shown])


def ranking_widget(store: FeedbackStore, criterion: str) -> widgets.Widget:
    """Name, dialogue, completions to click, from best to worst; each ranking is kept at once, and a labeler who
    comes back goes on.

    Args:
        criterion: the question that the ranking answers, shown above every item.
    """
    labeler = widgets.Text(description="your name", placeholder="then press Enter", continuous_update=False)
    status, prompt, rows = widgets.HTML(), widgets.HTML(), widgets.VBox()
    undo = widgets.Button(description="Undo", icon="undo", disabled=True)
    session: list[RankingSession] = []

    def act(action, number=None):
        try:
            action() if number is None else action(number)
            show()
        except FeedbackError as error:
            status.value = notice(error)

    def start(_):
        session[:], prompt.value, rows.children, undo.disabled = [], "", (), True  # nobody clicks on without a name
        act(lambda: session.append(RankingSession(store, labeler.value)))

    def line(current, number):
        place = current.chosen.index(number) + 1 if number in current.chosen else None
        button = widgets.Button(
            description=f"{place}." if place else "next best",
            disabled=place is not None,
            tooltip=current.item.completions[number],
            layout=widgets.Layout(width="90px"),
        )
        button.on_click(lambda _: act(current.choose, number))
        return widgets.HBox(
            [
                button,
                widgets.HTML(
                    html.escape(current.item.completions[number]) or "<i>(nothing)</i>",
                    layout=widgets.Layout(width="90%"),
                ),
            ]
        )

    def show():
        current = session[0]
        status.value = (
            f"<p>{current.done} of {len(store.items)} ranked by {html.escape(current.labeler)}. "
            f"<b>{html.escape(criterion)}</b></p>"
        )
        undo.disabled = not current.chosen
        if current.item is None:
            prompt.value, rows.children = "<p>Nothing is left to rank. Thank you.</p>", ()
            return
        prompt.value = f"<pre>{html.escape(current.item.prompt)}</pre>"
        rows.children = tuple(line(current, number) for number in current.shown())

    labeler.observe(start, "value")
    undo.on_click(lambda _: act(session[0].undo))
    return widgets.VBox([labeler, status, prompt, rows, undo])


def rounds_table(rounds: Sequence[tuple[str, Sequence[str]]], example: int, shown: int) -> HTML:
    """What became of one answer: a row for the answer itself and one for each of the first `shown` rounds.

    Args:
        rounds: (name, N texts) of the answers and of every round, in their order; example: number of the answer, from
            0.
    Raises:
        ValueError: there is no such answer, or there are fewer rounds.
    """
    if not 0 <= shown < len(rounds) or not 0 <= example < len(rounds[0][1]):
        raise ValueError(
            f"example {example}, {shown} rounds: there are {len(rounds[0][1])} answers, from 0, and "
            f"{len(rounds) - 1} rounds"
        )
    written = [(name, texts[example]) for name, texts in rounds[: 1 + shown]]
    changed = [place == 0 or text != written[place - 1][1] for place, (_, text) in enumerate(written)]
    return table(("", "text"), [(name, text if new else "(as before)") for (name, text), new in zip(written, changed)])


def rounds_browser(rounds: Sequence[tuple[str, Sequence[str]]]) -> widgets.Widget:
    """Sliders for the answer and the number of rounds, above what became of it; arguments as for `rounds_table`."""
    last = len(rounds) - 1
    sliders = {
        "answer": widgets.IntSlider(value=0, min=0, max=len(rounds[0][1]) - 1),
        "rounds": widgets.IntSlider(value=last, min=0, max=last),
    }
    found = widgets.HTML()

    def redraw(_=None, rounds=tuple(rounds)):
        found.value = rounds_table(rounds, sliders["answer"].value, sliders["rounds"].value).data

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*(with_field(slider, name) for name, slider in sliders.items()), found], layout=WIDE)
