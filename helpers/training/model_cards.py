"""Model cards: an adapter's folder to give away, with a card written from its run: what was trained on what, how good
it is, and where that ends.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from helpers.data.findings import visible
from helpers.data.lengths import token_lengths
from helpers.data.prompts import TEMPLATES
from helpers.evaluation.statistics import mean_interval, paired_difference
from helpers.settings import PROFILES
from helpers.training.finished_runs import ADAPTER, ADAPTER_CONFIG, Run

CARD = "README.md"
TO_FILL_IN = (
    "The licence (`license` above): that of the data and of the base model bind you.",
    "What the model is for, and what it must not be used for.",
    "Who speaks in the dialogues, who collected them, when and why; did they agree?",
    "Who wrote the summaries, by what instructions.",
    "Who answers questions about this model.",
)


def public_name(place: str) -> str:
    """What a model or data set may be called elsewhere: its hub id, or the last part of its path; the rest of a path is
    nobody's business.
    """
    if place == PROFILES["pocket"]["model"]:
        return "pocket-t5"
    return visible(Path(place).name if os.path.isabs(place) else place, 100)


def literal(text: str) -> str:
    """The text on one line of Markdown as it stands: neither Markdown nor HTML acts in it."""
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(visible(text, 100), quote=False))


def export_adapter(
    run: Run,
    settings,
    data: Mapping[str, Sequence],
    tokenizer,
    measured: Mapping[str, tuple],
    folder: str | Path,
    name: str,
    license_id: str | None = None,
    clusters: Sequence | None = None,
) -> Path:
    """Writes an adapter's folder: adapter_model.safetensors, adapter_config.json, and its card as README.md.

    No path of this computer is in it, and no dialogue is in the card or the configuration. What the weights have
    learned by heart goes with them.

    Args:
        run: of an adapter, as `train` gives it; settings: those of the run; data: its splits.
        measured: metric -> (scores of the base model, scores with the adapter), N numbers each, on the test dialogues.
        license_id: as the hub spells it, "cc-by-4.0" for example; None leaves it to be filled in.
        clusters: N names; dialogues of one name are drawn together (`clusters_of`). None: every dialogue alone.
    Returns:
        the folder.
    Raises:
        ValueError: the run has a whole model instead of an adapter; `measured` or `clusters` as for `mean_interval`.
    """
    if not (run.folder / ADAPTER).is_file():
        raise ValueError(
            f"{run.folder}: is no adapter but a whole model ({run.record.method['kind']}); give it away with "
            "save_pretrained"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run.folder / ADAPTER, folder / ADAPTER)
    config = json.loads((run.folder / ADAPTER_CONFIG).read_text(encoding="utf-8")) | {
        "base_model_name_or_path": public_name(settings.model)
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8", newline="\n")
    card = model_card(run.record, settings, data, tokenizer, measured, name, license_id, clusters)
    (folder / CARD).write_text(str(card), encoding="utf-8", newline="\n")
    return folder


def model_card(record, settings, data, tokenizer, measured, name, license_id=None, clusters=None) -> ModelCard:
    """The card; arguments as for `export_adapter`. Metadata is written by a YAML library, so no value can become
    another key.

    Source: Mitchell et al. 2019, in the form that the model hub reads.
    """
    tested, intervals = len(next(iter(measured.values()))[0]), {}
    for metric, (before, after) in measured.items():
        intervals[metric] = (
            mean_interval(before, clusters),
            mean_interval(after, clusters),
            paired_difference(after, before, clusters),
        )
    results = [
        EvalResult(
            task_type="summarization",
            dataset_type="own",
            dataset_name=public_name(settings.data),
            dataset_split="test",
            metric_type="rouge",
            metric_name=visible(metric),
            metric_value=round(after.estimate, 4),
            metric_args={"interval_95": [round(after.low, 4), round(after.high, 4)], "dialogues": tested},
        )
        for metric, (_, after, _) in intervals.items()
    ]
    metadata = ModelCardData(
        base_model=public_name(settings.model),
        library_name="peft",
        pipeline_tag="summarization",
        license=license_id or "unknown",
        tags=[record.method["kind"], "summarization", "dialogue"],
        model_name=visible(name),
        eval_results=results,
    )
    text = "\n\n".join(
        [
            f"# {literal(name)}",
            _what_it_is(record, settings),
            _quality(intervals, tested, clusters),
            _data(data, settings, tokenizer),
            _limits(intervals, tested, data, settings),
            _how_to_load(settings),
            _versions(record),
            "## To be filled in\n" + "\n".join(f"- [ ] {question}" for question in TO_FILL_IN),
        ]
    )
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}\n")


def _what_it_is(record, settings):
    options = ", ".join(f"{key} {value}" for key, value in record.method["options"].items())
    return (
        f"An adapter ({record.method['kind']}) of {literal(public_name(settings.model))} that summarizes "
        f"dialogues. {record.trainable:,} of {record.total:,} "
        f"parameters were trained, in {record.settings['steps']} steps of {record.settings['batch_size']} "
        "pairs, at a learning rate of "
        f"{record.method['learning_rate']:g}, with seed {record.settings['seed']} ({literal(options)}). Weights "
        f"of the base model: SHA-256 `{record.base[:16]}…`."
    )


def _quality(intervals, tested, clusters):
    units = len(set(clusters)) if clusters is not None else tested
    drawn = "dialogues" if units == tested else f"their {units} groups"
    rows = [
        f"| {literal(metric)} | {before:.3f} | {after:.3f} | {difference:+.3f} |"
        for metric, (before, after, difference) in intervals.items()
    ]
    return "\n".join(
        [
            f"## Quality\nOn {tested} test dialogues, with 95% bootstrap intervals over {drawn}; the "
            "difference is paired.\n",
            "| metric, 0 to 1 | base model | with the adapter | difference |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _data(data, settings, tokenizer):
    rows = []
    for split in ("train", "validation", "test"):
        lengths = token_lengths(list(data[split]), tokenizer)
        middle = [f"{statistics.median(getattr(each, part) for each in lengths):.0f}" for part in ("prompt", "summary")]
        rows.append(
            f"| {split} | {len(lengths)} | {middle[0]} | {max(lengths)[0]} | {middle[1]} | "
            f"{max(map(len, data[split]['summaries']))} |"
        )
    return "\n".join(
        [
            f"## Data\nSource: {literal(public_name(settings.data))}; no dialogue of it is in this card.\n",
            "| split | dialogues | tokens of a prompt, median | the longest | tokens of a summary, median | "
            "references, at most |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _limits(intervals, tested, data, settings):
    wide = max((after.high - after.low) / 2 for _, after, _ in intervals.values())
    unsure = [metric for metric, (_, _, difference) in intervals.items() if difference.low <= 0 <= difference.high]
    return "\n".join(
        [
            "## Limits",
            f"- {tested} test dialogues tell each metric to about ±{wide:.2f}. How small a difference to another model "
            "can be seen depends on how alike the two are: compare on the same dialogues, paired.",
            "- Whether the adapter is better than the base model is open in: "
            f"{', '.join(map(literal, unsure)) or 'no metric measured here'}.",
            "- The test dialogues come from the same source as the training dialogues. How it does on others "
            "was not measured.",
            f"- Prompts of more than {settings.max_prompt_tokens} tokens and summaries of more than "
            f"{settings.max_new_tokens} were not trained on.",
            "- The weights can repeat what they were trained on. Give them away only if the dialogues themselves "
            "could be given away.",
            "- Trained once, with one seed. ROUGE counts shared words; whether a summary is true was not "
            "measured. Nor was its tone.",
        ]
    )


def _how_to_load(settings):
    base, template = json.dumps(public_name(settings.model)), json.dumps(TEMPLATES["conversation"])
    return f"""## How to load it
```python
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

base = {base}    # a hub id, or the folder of the base model on your computer
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(base, use_safetensors=True), "this folder")

dialogue = "#Person1#: Is the library open?\\n#Person2#: Until six."
prompt = {template}.replace("{{dialogue}}", dialogue)    # the words of the training
written = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens={settings.max_new_tokens})
print(tokenizer.decode(written[0], skip_special_tokens=True))
```"""


def _versions(record):
    return "## Versions\n" + ", ".join(
        f"{package} {literal(number)}" for package, number in record.settings["versions"].items()
    )
