"""Sliders and buttons. A widget holds no logic: it hands all its state to a function here that tests call as well."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import Image, display
from matplotlib.figure import Figure

from helpers.data.prompts import TEMPLATES, fit_prompt
from helpers.display import notice, table
from helpers.models.generation import GenerationError, generate
from helpers.models.sampling import next_token_logits, token_distribution
from helpers.visualization.alt_text import describe
from helpers.visualization.curves import plot_losses, plot_metrics
from helpers.visualization.plots import percent, plot_next_token

TEMPERATURES = {"min": 0.05, "max": 2.0, "step": 0.05}
TOP_K = {"min": 0, "max": 50}
TOP_P = {"min": 0.05, "max": 1.0, "step": 0.05}
NAMES = {
    "shots": "examples",
    "top_k": "top-k (0: off)",
    "top_p": "top-p",
    "num_beams": "beams",
    "max_new_tokens": "new tokens",
}
WIDE = widgets.Layout(width="99%")
PICTURE = {"max_width": "calc(100% - 4px)", "height": "auto", "align_self": "flex-start"}  # a narrow window shrinks it


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Description": describe(figure)})
    return buffer.getvalue()


class LivePicture:
    """A picture that is drawn anew whenever it is called with new numbers: a `listener` of trainings.

    It is an ordinary output, no widget: a notebook that is saved and opened again still has it.

    Args:
        draw: numbers -> figure.
    """

    def __init__(self, draw):
        self.draw, self.shown = draw, None

    def __call__(self, *numbers):
        figure = self.draw(*numbers)
        picture = Image(png(figure), format="png", alt=describe(figure))
        if self.shown is None:
            self.shown = display(picture, display_id=True)
        else:
            self.shown.update(picture)


def live_losses(name: str) -> LivePicture:
    """The losses of a run while it goes on: the `listener` of `helpers.training.trainer.train`."""
    return LivePicture(
        lambda losses, validation_losses: plot_losses(
            {name: (losses, validation_losses)}, "Loss while the model learns: lower is better"
        )
    )


def live_metrics(
    names: Sequence[str] = (), title: str = "The score should rise, the KL stay small, entropy hold"
) -> LivePicture:
    """Metrics of the training of a policy while it goes on: the `listener` of the trainers in `helpers.alignment`.

    Args:
        names: those to watch, as `plot_metrics` takes them; all of them unless given.
        title: what to see; unless given, that of a policy that draws and is judged.
    """
    return LivePicture(lambda history: plot_metrics(history, names, title))


def with_field(slider: widgets.Widget, name: str) -> widgets.Widget:
    """A slider behind a number field that has its name and value: a screen reader finds no name at a slider itself, and
    a number can be typed.
    """
    kind = widgets.BoundedIntText if isinstance(slider, widgets.IntSlider) else widgets.BoundedFloatText
    field = kind(
        value=slider.value,
        min=slider.min,
        max=slider.max,
        step=slider.step,
        description=name,
        style={"description_width": "100px"},
        layout=widgets.Layout(width="175px", flex="0 0 auto"),
    )
    slider.readout, slider.layout = False, widgets.Layout(width="auto", min_width="70px", flex="1 1 auto")

    def follow(target, change):
        if abs(target.value - change.new) > 1e-9:  # a page counts 0.7000000000000001 where a field shows 0.7
            target.value = round(change.new, 4)

    slider.observe(lambda change: follow(field, change), "value")
    field.observe(lambda change: follow(slider, change), "value")
    return widgets.HBox([field, slider])


def next_token_text(logits, tokenizer, temperature: float, top_k: int, top_p: float, count: int = 3) -> str:
    """What the figure shows, as HTML of one sentence: how many tokens can be drawn, and the likeliest of them with
    their probabilities.
    """
    found = token_distribution(logits, temperature, top_k, top_p)
    drawn = [row for row in found.rows(tokenizer, count) if row["final"] > 0]
    likeliest = ", ".join(f"{row['token'].replace('▁', '␣')} {percent(row['final'])}" for row in drawn)
    chosen = f"temperature {temperature:g}, top-k {top_k}, top-p {top_p:g}"
    return (
        f"<p>{chosen}: {int((found.final > 0).sum()):,} of {len(logits):,} tokens can be drawn; likeliest: "
        f"{html.escape(likeliest)}</p>"
    )


def next_token_figure(logits, tokenizer, temperature: float, top_k: int, top_p: float, count: int = 12) -> Figure:
    """The next token's likeliest candidates under these parameters.

    Args:
        logits: (V,) as `next_token_logits` gives them; count: bars.
    """
    found = token_distribution(logits, temperature, top_k, top_p)
    return plot_next_token(found.rows(tokenizer, count), "From grey (the model) to blue (what is drawn from)")


def next_token_explorer(model, tokenizer, prompt: str, completion_ids: Sequence[int] = ()) -> widgets.Widget:
    """Three sliders over the distribution of the token that follows `prompt` and the completion so far."""
    logits = next_token_logits(model, tokenizer, prompt, completion_ids)
    sliders = {
        "temperature": widgets.FloatSlider(value=1.0, **TEMPERATURES),
        "top_k": widgets.IntSlider(value=0, **TOP_K),
        "top_p": widgets.FloatSlider(value=1.0, **TOP_P),
    }
    picture, words = widgets.Image(format="png", layout=PICTURE), widgets.HTML()

    def redraw(_=None, logits=logits, tokenizer=tokenizer):
        chosen = {name: round(slider.value, 4) for name, slider in sliders.items()}
        picture.value = png(next_token_figure(logits, tokenizer, **chosen))
        words.value = next_token_text(logits, tokenizer, **chosen)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox(
        [*(with_field(slider, NAMES.get(name, name)) for name, slider in sliders.items()), words, picture]
    )


def playground_outputs(
    model,
    tokenizer,
    settings,
    examples,
    dialogue: str,
    template: str,
    shots: int,
    temperature: float,
    top_k: int,
    top_p: float,
    num_beams: int,
    max_new_tokens: int,
    samples: int,
    seed: int,
) -> str:
    """HTML of a prompt's greedy, beam and sampled completions below one another, or of what is wrong with the input.

    Args:
        examples: rows for few-shot prompts; shots: how many of them to use.
        samples: completions drawn with temperature, top_k and top_p; the other arguments as for `generate`.
    """
    try:
        prompt = fit_prompt(dialogue, examples[:shots], tokenizer, settings.max_prompt_tokens, template)
        shared = {"max_new_tokens": max_new_tokens, "show_progress": False}
        found = [("greedy", generate(model, tokenizer, [prompt.text], **shared)[0])]
        if num_beams > 1:
            found.append(
                (
                    f"beam search, {num_beams} beams",
                    generate(model, tokenizer, [prompt.text], num_beams=num_beams, **shared)[0],
                )
            )
        drawn = (
            generate(
                model,
                tokenizer,
                [prompt.text] * samples,
                do_sample=True,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                **shared,
            )
            if samples
            else []
        )
        found += [(f"sample {number}", text) for number, text in enumerate(drawn, 1)]
    except (GenerationError, ValueError) as error:
        return notice(error)
    note = f"{prompt.tokens} tokens in the prompt, {len(prompt.kept)} of {shots} examples fit"
    return f"<p>{note}</p>" + table(("way", "completion"), [(name, text or "(nothing)") for name, text in found]).data


def playground(model, tokenizer, settings, examples, dialogue: str) -> widgets.Widget:
    """The learner's own dialogue, prompt and inference parameters; a button generates with what stands there."""
    style = {"description_width": "100px"}
    controls = {
        "dialogue": widgets.Textarea(
            value=dialogue, description="dialogue", style=style, layout=widgets.Layout(width="99%", height="190px")
        ),
        "template": widgets.Dropdown(
            options=list(TEMPLATES), description="template", style=style, layout=widgets.Layout(width="auto")
        ),
        "shots": widgets.IntSlider(value=1, min=0, max=len(examples)),
        "temperature": widgets.FloatSlider(value=0.7, **TEMPERATURES),
        "top_k": widgets.IntSlider(value=0, **TOP_K),
        "top_p": widgets.FloatSlider(value=0.95, **TOP_P),
        "num_beams": widgets.IntSlider(value=4, min=1, max=8),
        "max_new_tokens": widgets.IntSlider(value=min(60, settings.max_new_tokens), min=1, max=settings.max_new_tokens),
        "samples": widgets.IntSlider(value=2, min=0, max=5),
        "seed": widgets.IntSlider(value=0, min=0, max=99),
    }
    button = widgets.Button(description="Generate", button_style="primary", icon="play")
    result = widgets.HTML()

    def run(_=None, model=model, tokenizer=tokenizer, settings=settings, examples=tuple(examples)):
        button.disabled, button.description = True, "…"
        try:
            result.value = playground_outputs(
                model,
                tokenizer,
                settings,
                examples,
                **{
                    name: control.value if isinstance(control.value, str) else round(control.value, 4)
                    for name, control in controls.items()
                },
            )
        finally:
            button.disabled, button.description = False, "Generate"

    button.on_click(run)
    run()
    cells = [
        control if name == "template" else with_field(control, NAMES.get(name, name))
        for name, control in controls.items()
        if name != "dialogue"
    ]
    grid = widgets.GridBox(cells, layout=widgets.Layout(grid_template_columns="repeat(auto-fit, minmax(270px, 1fr))"))
    return widgets.VBox([controls["dialogue"], grid, button, result], layout=WIDE)
