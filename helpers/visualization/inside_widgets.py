"""Widgets that look inside: one head's attention at a time, and a sentence after any number of merges."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers.transformer.attention import KINDS, Maps, pieces
from helpers.visualization.heatmaps import plot_attention
from helpers.display import tokens
from helpers.transformer.tokenizers import SPACE, bpe_cut, marked
from helpers.visualization.widgets import PICTURE, png, with_field

VIEWS = {"encoder looks at itself": "encoder", "decoder looks at what it has written": "decoder", "decoder looks at the prompt": "cross"}


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
    read = ["start", *written[:-1]]      # what the decoder is given is what it has written, one step late
    rows, columns = {"encoder": (prompt, prompt), "decoder": (written, read), "cross": (written, prompt)}[kind]
    who = "the token that looks" if kind == "encoder" else "the token to be written"
    return plot_attention(getattr(maps, kind)[layer, head], rows, columns, f"layer {layer}, head {head}", who)


def attention_explorer(maps: Maps, tokenizer) -> widgets.Widget:
    """A drop-down for the kind of attention, sliders for layer and head."""
    view = widgets.Dropdown(options=list(VIEWS.items()), value="cross", description="attention", style={"description_width": "100px"})
    layers, heads = maps.cross.shape[:2]
    sliders = [widgets.IntSlider(value=layers - 1, min=0, max=layers - 1), widgets.IntSlider(value=0, min=0, max=heads - 1)]
    picture = widgets.Image(format="png", layout=PICTURE)

    def redraw(_=None, maps=maps, tokenizer=tokenizer):
        layer, head = (slider.value for slider in sliders)
        layer = min(layer, len(getattr(maps, view.value)) - 1)      # encoder and decoder may have different numbers of layers
        picture.value = png(attention_figure(maps, tokenizer, view.value, layer, head))
    for control in (view, *sliders):
        control.observe(redraw, "value")
    redraw()
    return widgets.VBox([view, *map(with_field, sliders, ("layer", "head")), picture])


def merges_html(text: str, merges: Sequence[str], count: int) -> str:
    """HTML of the text's pieces after the first `count` merges, and of the merge that came last."""
    found = bpe_cut(marked(text), merges[:count])
    last = f"; the last one made “{html.escape(merges[count - 1].replace(SPACE, '␣'))}”" if count else ""
    return f"<p>{len(found)} pieces after {count} merges{last}</p>" + tokens([piece.replace(SPACE, "␣") for piece in found]).data


def merges_explorer(text: str, merges: Sequence[str]) -> widgets.Widget:
    """A slider over the number of merges."""
    slider, shown = widgets.IntSlider(value=len(merges) // 10, min=0, max=len(merges)), widgets.HTML()

    def redraw(_=None, text=text, merges=tuple(merges)):
        shown.value = merges_html(text, merges, slider.value)
    slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([with_field(slider, "merges"), shown])
