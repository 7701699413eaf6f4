"""Heat maps and the widgets that draw them: names, limits, both ends of every slider."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers.transformer.attention import Maps, attention_maps
from helpers.transformer.positions import sinusoids
from helpers.visualization.explorers import VIEWS, attention_explorer, attention_figure, merges_explorer, merges_html
from helpers.visualization.heatmaps import SHOWN, plot_attention, plot_biases, plot_masks, plot_sinusoids


@pytest.fixture(autouse=True)
def closed():
    """Figures are returned closed: otherwise a notebook would show each of them twice."""
    before = set(plt.get_fignums())
    yield
    assert set(plt.get_fignums()) == before


def texts(labels):
    return [label.get_text() for label in labels]


def test_attention_has_a_name_for_every_token_with_dollars_as_they_are():
    figure = plot_attention(np.eye(3), ["a", "b", "$c$"], ["x", "y", "z"], "layer 0")
    axes = figure.axes[0]
    assert texts(axes.get_yticklabels()) == ["a", "b", r"\$c\$"] and texts(axes.get_xticklabels()) == ["x", "y", "z"]
    assert figure.get_suptitle() == "layer 0" and axes.get_xlabel() == "the token looked at"


def test_of_long_texts_the_beginning_is_drawn_and_the_title_says_so():
    figure = plot_attention(np.ones((200, 200)) / 200, ["t"] * 200, ["s"] * 200, "layer 1")
    axes = figure.axes[0]
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == SHOWN
    assert f"first {SHOWN} tokens" in figure.get_suptitle()


def test_both_curves_of_the_products_are_drawn_and_agree():
    left, right = plot_sinusoids(sinusoids(64, 16)).axes[:2]
    first, later = (line.get_ydata() for line in right.lines)
    assert len(first) == len(later) == 32 and np.allclose(first, later) and left.get_xlabel() == "position"


def test_biases_have_a_panel_a_stack_and_a_line_a_head():
    biases = np.where(np.arange(-3, 4) > 0, np.nan, np.random.default_rng(0).normal(size=(2, 7)))
    figure = plot_biases(list(range(-3, 4)), {"encoder": np.ones((2, 7)), "decoder": biases})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["encoder", "decoder"]
    assert sorted(texts(figure.axes[1].texts)) == ["head 0", "head 1"] and len(figure.axes[0].lines) == 3


def test_masks_have_a_panel_each():
    figure = plot_masks({"all": np.ones((3, 3)), "causal": np.tri(3)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["all", "causal"]


def test_every_view_of_the_explorer_can_be_drawn_at_both_ends(tiny_model, tiny_tokenizer, dialogues, summaries):
    maps = attention_maps(tiny_model, tiny_tokenizer, dialogues[1], summaries[1])
    explorer = attention_explorer(maps, tiny_tokenizer)
    view, layer, head, picture = explorer.children
    assert [row.children[0].description for row in (layer, head)] == ["layer", "head"]
    drawn = set()
    for kind in VIEWS.values():
        view.value = kind
        for end in (head.children[1].min, head.children[1].max):
            head.children[1].value = end
            drawn.add(picture.value)
            figure = attention_figure(maps, tiny_tokenizer, kind, 0, end)
            assert figure.get_suptitle().startswith(f"layer 0, head {end}")
    assert len(drawn) == 6


def test_a_decoder_of_fewer_layers_shows_its_last(tiny_tokenizer):
    maps = Maps([5, 1], [6, 1], torch.ones(1, 1, 2, 2) / 2, torch.ones(3, 1, 2, 2) / 2, torch.ones(3, 1, 2, 2) / 2)
    view, layer, *_ = attention_explorer(maps, tiny_tokenizer).children
    view.value, layer.children[1].value = "encoder", 2  # the encoder has one layer alone


def test_an_unknown_kind_of_attention_is_named(tiny_tokenizer):
    with pytest.raises(ValueError, match="kind: 'both' is not one of encoder, decoder, cross"):
        attention_figure(None, tiny_tokenizer, "both", 0, 0)


def test_merges_are_replayed_up_to_the_chosen_one_and_escaped():
    merges = ["<b", "<b>", "▁<b>"]
    assert "4 pieces after 0 merges" in merges_html(
        "<b>", merges, 0
    ) and "1 pieces after 3 merges; the last one made “␣&lt;b&gt;”" in merges_html("<b>", merges, 3)
    assert "<b>" not in merges_html("<b>", merges, 2)
    row, shown = merges_explorer("<b>", merges).children
    assert row.children[0].description == "merges"
    for end in (row.children[1].min, row.children[1].max):
        row.children[1].value = end
        assert f"after {end} merges" in shown.value
