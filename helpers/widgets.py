"""Sliders and buttons. A widget holds no logic: it hands all its state to a function here that tests call as well."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from helpers.curves import plot_losses, plot_metrics
from helpers.generation import generate
from helpers.parameters import GenerationError
from helpers.plots import plot_next_token
from helpers.prompts import TEMPLATES, fit_prompt
from helpers.sampling import next_token_logits, token_distribution
from helpers.settings import PROFILES, default_profile
from helpers.show import table

TEMPERATURES = {"min": 0.05, "max": 2.0, "step": 0.05}
TOP_K = {"min": 0, "max": 50}
TOP_P = {"min": 0.05, "max": 1.0, "step": 0.05}
WIDE = widgets.Layout(width="99%")


def profile_dropdown() -> widgets.Dropdown:
    """The choice of a profile, set to LAB_PROFILE or to what suits this machine."""
    chosen = os.environ.get("LAB_PROFILE") or default_profile()
    return widgets.Dropdown(options=list(PROFILES), value=chosen if chosen in PROFILES else None, description="profile")


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


class LivePicture:
    """A picture that is drawn anew whenever it is called with new numbers: a `listener` of trainings.

    Args:
        draw: numbers -> figure.
    """

    def __init__(self, draw):
        self.draw, self.picture = draw, None

    def __call__(self, *numbers):
        value = png(self.draw(*numbers))
        if self.picture is None:
            self.picture = widgets.Image(value=value, format="png")
            display(self.picture)
        self.picture.value = value


def live_losses(name: str) -> LivePicture:
    """The losses of a run while it goes on: the `listener` of `helpers.training.train`."""
    return LivePicture(lambda losses, validation_losses: plot_losses({name: (losses, validation_losses)}))


def live_metrics() -> LivePicture:
    """All metrics of a PPO run while it goes on: the `listener` of `PPOTrainer.run`."""
    return LivePicture(plot_metrics)


def next_token_figure(logits, tokenizer, temperature: float, top_k: int, top_p: float, count: int = 12) -> Figure:
    """The next token's likeliest candidates under these parameters.

    Args:
        logits: (V,) as `next_token_logits` gives them; count: bars.
    """
    found = token_distribution(logits, temperature, top_k, top_p)
    left = int((found.final > 0).sum())
    return plot_next_token(found.rows(tokenizer, count), f"{left} of {len(logits)} tokens can be drawn")


def next_token_explorer(model, tokenizer, prompt: str, completion_ids: Sequence[int] = ()) -> widgets.Widget:
    """Three sliders over the distribution of the token that follows `prompt` and the completion so far."""
    logits = next_token_logits(model, tokenizer, prompt, completion_ids)
    sliders = {"temperature": widgets.FloatSlider(value=1.0, description="temperature", **TEMPERATURES),
               "top_k": widgets.IntSlider(value=0, description="top-k (0: off)", **TOP_K),
               "top_p": widgets.FloatSlider(value=1.0, description="top-p", **TOP_P)}
    picture = widgets.Image(format="png")

    def redraw(_=None, logits=logits, tokenizer=tokenizer):
        picture.value = png(next_token_figure(logits, tokenizer, **{name: slider.value for name, slider in sliders.items()}))
    for slider in sliders.values():
        slider.style.description_width = "100px"
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*sliders.values(), picture])


def playground_outputs(model, tokenizer, settings, examples, dialogue: str, template: str, shots: int, temperature: float,
                       top_k: int, top_p: float, num_beams: int, max_new_tokens: int, samples: int, seed: int) -> str:
    """HTML of a prompt's greedy, beam and sampled completions side by side, or of what is wrong with the input.

    Args:
        examples: rows for few-shot prompts; shots: how many of them to use.
        samples: completions drawn with temperature, top_k and top_p; the other arguments as for `generate`.
    """
    try:
        prompt = fit_prompt(dialogue, examples[:shots], tokenizer, settings.max_prompt_tokens, template)
        shared = {"max_new_tokens": max_new_tokens, "show_progress": False}
        found = [("greedy", generate(model, tokenizer, [prompt.text], **shared)[0])]
        if num_beams > 1:
            found.append((f"beam search, {num_beams} beams",
                          generate(model, tokenizer, [prompt.text], num_beams=num_beams, **shared)[0]))
        drawn = generate(model, tokenizer, [prompt.text] * samples, do_sample=True, temperature=temperature, top_k=top_k,
                         top_p=top_p, seed=seed, **shared) if samples else []
        found += [(f"sample {number}", text) for number, text in enumerate(drawn, 1)]
    except (GenerationError, ValueError) as error:
        return f'<p style="color:#d55e00"><b>{html.escape(str(error))}</b></p>'
    note = f"{prompt.tokens} tokens in the prompt, {len(prompt.kept)} of {shots} examples fit"
    return f"<p>{note}</p>" + table([name for name, _ in found], [[text or "(nothing)" for _, text in found]]).data


def playground(model, tokenizer, settings, examples, dialogue: str) -> widgets.Widget:
    """The learner's own dialogue, prompt and inference parameters; a button generates with what stands there."""
    controls = {
        "dialogue": widgets.Textarea(value=dialogue, layout=widgets.Layout(width="99%", height="190px")),
        "template": widgets.Dropdown(options=list(TEMPLATES), description="template"),
        "shots": widgets.IntSlider(value=1, min=0, max=len(examples), description="examples"),
        "temperature": widgets.FloatSlider(value=0.7, description="temperature", **TEMPERATURES),
        "top_k": widgets.IntSlider(value=0, description="top-k (0: off)", **TOP_K),
        "top_p": widgets.FloatSlider(value=0.95, description="top-p", **TOP_P),
        "num_beams": widgets.IntSlider(value=4, min=1, max=8, description="beams"),
        "max_new_tokens": widgets.IntSlider(value=min(60, settings.max_new_tokens), min=1, max=settings.max_new_tokens,
                                            description="new tokens"),
        "samples": widgets.IntSlider(value=2, min=0, max=5, description="samples"),
        "seed": widgets.IntSlider(value=0, min=0, max=99, description="seed"),
    }
    button = widgets.Button(description="Generate", button_style="primary", icon="play")
    result = widgets.HTML()

    def run(_=None, model=model, tokenizer=tokenizer, settings=settings, examples=tuple(examples)):
        button.disabled, button.description = True, "…"
        try:
            result.value = playground_outputs(model, tokenizer, settings, examples,
                                              **{name: control.value for name, control in controls.items()})
        finally:
            button.disabled, button.description = False, "Generate"
    button.on_click(run)
    run()
    sliders = [control for name, control in controls.items() if name != "dialogue"]
    for control in sliders:
        control.style.description_width = "100px"
    grid = widgets.GridBox(sliders, layout=widgets.Layout(grid_template_columns="repeat(3, 33%)"))
    return widgets.VBox([controls["dialogue"], grid, button, result], layout=WIDE)
