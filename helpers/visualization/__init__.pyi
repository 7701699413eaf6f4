"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .chat_box import chat_widget as chat_widget
from .curves import (
    plot_lines as plot_lines,
    plot_losses as plot_losses,
    plot_metrics as plot_metrics,
    plot_series as plot_series,
)
from .explorers import (
    attention_explorer as attention_explorer,
    documents_slider as documents_slider,
    merges_explorer as merges_explorer,
    ranking_widget as ranking_widget,
    rounds_browser as rounds_browser,
    step_slider as step_slider,
)
from .fronts import plot_variants as plot_variants
from .heatmaps import plot_biases as plot_biases, plot_masks as plot_masks, plot_sinusoids as plot_sinusoids
from .plots import (
    plot_against as plot_against,
    plot_grid as plot_grid,
    plot_intervals as plot_intervals,
    plot_prices as plot_prices,
    plot_reliability as plot_reliability,
    plot_samples as plot_samples,
    plot_tradeoff as plot_tradeoff,
    plot_window as plot_window,
)
from .scaling import (
    budget_explorer as budget_explorer,
    plot_bytes as plot_bytes,
    plot_runs as plot_runs,
    sharing_explorer as sharing_explorer,
)
from .widgets import (
    live_losses as live_losses,
    live_metrics as live_metrics,
    next_token_explorer as next_token_explorer,
    playground as playground,
)
