"""Exported adapters: the same bits and texts after loading, a card with the run's own numbers, and nothing about this
computer or its dialogues.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from helpers.data.lengths import token_lengths
from helpers.data.loading import load_dialogues
from helpers.data.prompts import build_prompt
from helpers.evaluation.statistics import mean_interval, paired_difference
from helpers.models.generation import generate
from helpers.run_records import TrainingError, fingerprint
from helpers.settings import PROFILES, load_settings
from helpers.training.finished_runs import load_adapter
from helpers.training.model_cards import export_adapter, literal, public_name
from tests.tiny_world import tiny_settings
from tests.training.training_cases import tiny_run

BEFORE, AFTER = np.linspace(0.1, 0.3, 20), np.linspace(0.3, 0.9, 20)
NASTY = (
    'my "file": [x]\n---\nlicense: mit\nbase_model: evil/model\n<script>alert(1)</script> ```\n# Heading | '
    "${{7*7}} {{ 7*7 }}"
)


@pytest.fixture
def world(tiny_model, tiny_tokenizer, dialogues, summaries, tmp_path):
    """(settings, its data, a finished run of LoRA) on files of its own."""
    rows = [
        {"id": f"d{number}", "dialogue": text, "summary": summary}
        for number, (text, summary) in enumerate(zip(dialogues, summaries))
    ]
    settings = tiny_settings(
        tmp_path, tiny_model, tiny_tokenizer, {"train": rows[:3], "validation": rows[3:4], "test": rows[4:]}
    )
    return (
        settings,
        load_dialogues(settings),
        tiny_run(tiny_model, tiny_tokenizer, tmp_path / "runs", "lora", steps=24, evaluations=1),
    )


def export(world, tokenizer, folder, name="my adapter", **changes):
    settings, data, run = world
    measured = changes.pop("measured", {"ROUGE-1": (BEFORE, AFTER), "ROUGE-L": (AFTER, AFTER)})
    return export_adapter(
        run,
        replace(settings, **{key: changes.pop(key) for key in ("data", "model") if key in changes}),
        data,
        tokenizer,
        measured,
        folder,
        name,
        **changes,
    )


def test_the_exported_adapter_is_the_trained_one_bit_for_bit(world, tiny_model, tiny_tokenizer, dialogues, tmp_path):
    folder = export(world, tiny_tokenizer, tmp_path / "given")
    loaded = load_adapter(folder, tiny_model)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert fingerprint(loaded) == fingerprint(world[2].model) != fingerprint(tiny_model)
    texts = [
        generate(model, tiny_tokenizer, dialogues, max_new_tokens=20, show_progress=False)
        for model in (loaded, world[2].model, tiny_model)
    ]
    assert texts[0] == texts[1] != texts[2] and not loaded.training


def test_the_cards_numbers_are_those_of_the_run(world, tiny_tokenizer, tmp_path):
    card = ModelCard.load(export(world, tiny_tokenizer, tmp_path / "given") / "README.md", ignore_metadata_errors=False)
    first = card.data.eval_results[0]
    assert (first.metric_name, first.metric_value, first.metric_args["dialogues"]) == (
        "ROUGE-1",
        round(AFTER.mean(), 4),
        20,
    )
    assert first.metric_args["interval_95"] == [round(mean_interval(AFTER).low, 4), round(mean_interval(AFTER).high, 4)]
    for number in (mean_interval(BEFORE), mean_interval(AFTER)):
        assert f"| {number:.3f} |" in card.text
    assert f"| {paired_difference(AFTER, BEFORE):+.3f} |" in card.text and "is open in: ROUGE-L" in card.text
    record = world[2].record
    assert f"{record.trainable:,} of {record.total:,} parameters" in card.text and record.base[:16] in card.text
    assert card.data.license == "unknown" and card.data.library_name == "peft" and "lora" in card.data.tags
    assert all(f"{package} {literal(number)}" in card.text for package, number in record.settings["versions"].items())
    assert (
        ModelCard.load(
            export(world, tiny_tokenizer, tmp_path / "given", license_id="cc-by-4.0") / "README.md"
        ).data.license
        == "cc-by-4.0"
    )


def test_the_cards_intervals_draw_what_is_alike_together(world, tiny_tokenizer, tmp_path):
    pairs = [f"group {number // 2}" for number in range(20)]
    card = (export(world, tiny_tokenizer, tmp_path / "given", clusters=pairs) / "README.md").read_text(encoding="utf-8")
    for scores in (BEFORE, AFTER):
        assert f"| {mean_interval(scores, pairs):.3f} |" in card and f"{mean_interval(scores):.3f}" not in card
    assert f"| {paired_difference(AFTER, BEFORE, pairs):+.3f} |" in card
    assert "On 20 test dialogues, with 95% bootstrap intervals over their 10 groups;" in card
    alone = export(world, tiny_tokenizer, tmp_path / "given", clusters=list(range(20))) / "README.md"
    assert "with 95% bootstrap intervals over dialogues;" in alone.read_text(encoding="utf-8")


def test_the_cards_lengths_are_medians(world, tiny_tokenizer, tmp_path):
    card = (export(world, tiny_tokenizer, tmp_path / "given") / "README.md").read_text(encoding="utf-8")
    for split, rows in world[1].items():
        lengths = token_lengths(list(rows), tiny_tokenizer)
        prompts, summaries = ([getattr(each, part) for each in lengths] for part in ("prompt", "summary"))
        middle = f"{np.median(prompts):.0f} | {max(prompts)} | {np.median(summaries):.0f}"
        assert f"| {split} | {len(rows)} | {middle} | 1 |" in card


def test_the_card_says_how_sure_its_numbers_are_and_what_weights_can_hold(world, tiny_tokenizer, tmp_path):
    card = (export(world, tiny_tokenizer, tmp_path / "given") / "README.md").read_text(encoding="utf-8")
    assert "tell each metric to about ±0.08. How small a difference to another model can be seen depends on" in card
    assert "Give them away only if the dialogues themselves could be given away." in card


def test_the_cards_code_writes_the_summaries_that_were_measured(world, tiny_tokenizer, tmp_path, capsys):
    settings, _, run = world
    folder = export(world, tiny_tokenizer, tmp_path / "given")
    code = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("\n```")[0]
    base = json.dumps(public_name(settings.model))
    assert f"base = {base} " in code and '"this folder")' in code
    names = {}
    exec(
        code.replace(f"base = {base} ", f"base = {settings.model!r} ").replace('"this folder"', repr(str(folder))),
        names,
    )
    prompt = build_prompt("#Person1#: Is the library open?\n#Person2#: Until six.")
    wanted = generate(run.model, tiny_tokenizer, [prompt], max_new_tokens=settings.max_new_tokens, show_progress=False)
    assert names["prompt"] == prompt and capsys.readouterr().out.strip() == wanted[0].strip()


def test_no_path_and_no_dialogue_leaves_the_computer(world, tiny_tokenizer, dialogues, summaries, tmp_path):
    folder = export(world, tiny_tokenizer, tmp_path / "given")
    assert (
        json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"] == "model"
    )
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content and tmp_path.parent.name.encode() not in content
        assert not any(line.encode() in content for text in (*dialogues, *summaries) for line in text.split("\n"))


def test_what_things_are_called_elsewhere(tmp_path):
    assert (
        public_name(PROFILES["pocket"]["model"]) == "pocket-t5"
        and public_name(str(tmp_path / "secret" / "my.csv")) == "my.csv"
    )
    assert public_name("google/flan-t5-base") == "google/flan-t5-base" and load_settings("base").model == public_name(
        load_settings("base").model
    )


def test_no_name_becomes_another_key_or_acts_in_the_card(world, tiny_tokenizer, tmp_path):
    folder = export(
        world,
        tiny_tokenizer,
        tmp_path / "given",
        name=NASTY,
        data="/x/" + NASTY.replace("/", ""),
        model="/x/" + NASTY.replace("/", ""),
    )
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, block, body = text.split("---\n", 2)
    metadata = yaml.safe_load(block)
    assert (
        metadata["license"] == "unknown"
        and metadata["base_model"].startswith('my "file"')
        and set(metadata) == {"base_model", "library_name", "pipeline_tag", "license", "tags", "model-index"}
    )
    assert ModelCard(text).data.license == "unknown"
    assert "<script" not in body.partition("```python")[0] + body.partition("```python")[2].partition("\n```")[2]
    code = body.partition("```python\n")[2].partition("\n```")[0]
    compile(code, "card", "exec")
    assert (
        len(code.splitlines()) == 11 and body.count("\n# ") == 1 and "{{ 7*7 }}" not in body.partition("```python")[0]
    )
    assert yaml.safe_load(yaml.safe_dump(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))))[
        "base_model_name_or_path"
    ].startswith('my "file"')


@pytest.mark.parametrize(
    "text", ["a*b*_c_", "[x](http://example.org)", "<b>", "a\nb", "`x`", "| cell", "\u202eabc", "# h"]
)
def test_literal_text_is_no_markdown(text):
    shown = literal(text)
    assert "\n" not in shown and "<" not in shown and "\u202e" not in shown
    assert all(f"\\{mark}" in shown for mark in "*_[]`|#" if mark in text)


def test_a_whole_model_is_no_adapter(world, tiny_model, tiny_tokenizer, tmp_path):
    whole = tiny_run(tiny_model, tiny_tokenizer, tmp_path / "runs", "full", steps=2, evaluations=1)
    with pytest.raises(
        ValueError, match=r"is no adapter but a whole model \(full\); give it away with save_pretrained"
    ):
        export((*world[:2], whole), tiny_tokenizer, tmp_path / "given")


def test_an_adapter_of_another_model_is_refused(world, tiny_model, tiny_tokenizer, tmp_path):
    from transformers import T5ForConditionalGeneration

    folder = export(world, tiny_tokenizer, tmp_path / "given")
    wider = tiny_model.config.__class__(**tiny_model.config.to_dict() | {"d_model": 64})
    with pytest.raises(TrainingError, match="does not fit T5ForConditionalGeneration, or is damaged"):
        load_adapter(folder, T5ForConditionalGeneration(wider))
    (folder / "adapter_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match="or is damaged"):
        load_adapter(folder, tiny_model)
