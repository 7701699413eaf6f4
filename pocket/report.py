"""Measures pocket-t5 against what it must show: `python -m pocket.report` prints the table that its card holds.

The summaries of the known, unseen and wild dialogues under several ways of prompting, other tasks, and three runs of
full fine-tuning as lab 2 makes them: ROUGE, broken words, facts, with intervals over runs and scenarios. Finished
trainings are kept and not repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from helpers.data.loading import load_dialogues, load_tasks
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.data.prompts import build_prompt
from helpers.evaluation.experiments import (
    baselines,
    by_part,
    clusters_of,
    reference_ceiling,
    run_condition,
    score_tasks,
)
from helpers.evaluation.faithfulness import FactChecker, lexicon_of, load_fact_checker
from helpers.evaluation.metrics import rouge_per_dialogue
from helpers.evaluation.statistics import Interval
from helpers.models.generation import generate
from helpers.models.loading import load_seq2seq
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import full
from helpers.training.trainer import train
from pocket import splits
from sweeps.intervals import difference_over_seeds, mean_over_seeds

HOME = Path(__file__).parent
CONDITIONS = {
    "no instruction": {"template": "none"},
    "zero-shot": {},
    "one-shot": {"shots": 1},
    "two-shot": {"shots": 2},
    "three-shot": {"shots": 3},
    "wrong style (one exemplar)": {"shots": 1, "wrong_style": True},
}
GREEDY, SAMPLED = "fine-tuned, greedy", "fine-tuned, sampled at temperature 1"
ROWS = {"known": 200, "unseen": 60, "wild": 60}
SEEDS = (1, 2, 3)
DIFFERENCES = {
    "three-shot minus one-shot": ("three-shot", "one-shot"),
    "wrong style minus zero-shot": ("wrong style (one exemplar)", "zero-shot"),
}
GOALS = (  # what, row of the known dialogues, measure, and the bound that it has to keep
    ("one-shot, greedy: ROUGE-L", "one-shot", "rougeL", "at least", 0.62),
    ("fully fine-tuned, greedy: ROUGE-1", GREEDY, "rouge1", "at least", 0.80),
    ("summaries with a word new to training: one-shot, greedy", "one-shot", "new words", "at most", 0.01),
    ("summaries with a word new to training: fine-tuned, greedy", GREEDY, "new words", "at most", 0.01),
    ("summaries with a word new to training: fine-tuned, sampled", SAMPLED, "new words", "at most", 0.05),
    ("summaries with a broken word: one-shot, greedy", "one-shot", "broken", "at most", 0.01),
    ("summaries with a broken word: fine-tuned, greedy", GREEDY, "broken", "at most", 0.01),
    ("summaries with a broken word: fine-tuned, sampled", SAMPLED, "broken", "at most", 0.05),
    ("values named that are the dialogue's: fine-tuned, greedy", GREEDY, "facts", "at least", 0.95),
    ("zero-shot: ROUGE-1", "zero-shot", "rouge1", "at most", 0.45),
    ("wrong style minus zero-shot: ROUGE-L", "wrong style minus zero-shot", "rougeL", "at most", 0.05),
    ("questions answered exactly", "task: question", "exact match", "at least", 0.75),
    ("three-shot minus one-shot: ROUGE-L", "three-shot minus one-shot", "rougeL", "at least", 0.0),
)


class Judge:
    """Measures texts about rows: ROUGE, broken words, words new to training, facts."""

    def __init__(self, settings, data):
        self.checker = load_fact_checker(settings, data)
        texts = (text for row in data["train"] for text in (row["dialogue"], row["summary"]))
        self.of_training = FactChecker(lexicon_of(texts))

    def __call__(self, runs, rows):
        """{measure: interval} of N texts for each of S runs, (S lists); row i of each run is about rows[i]."""
        clusters = clusters_of(rows)
        columns = {}
        for texts in runs:
            rouge = rouge_per_dialogue(texts, [row["summaries"] for row in rows])
            found = self.checker.per_dialogue(texts, rows)
            found |= {"new words": self.of_training.per_dialogue(texts, rows)["broken"]}
            for name, values in ({metric: rouge[metric] for metric in ("rouge1", "rougeL")} | found).items():
                columns.setdefault(name, []).append(values)
        measured = {
            name: mean_over_seeds(columns[name], clusters) for name in ("rouge1", "rougeL", "broken", "new words")
        }
        named, supported = np.array(columns["named"]), np.array(columns["supported"])
        if named.any():  # a ratio of two means, linear around its estimate
            share = supported.sum() / named.sum()
            change = mean_over_seeds((supported - share * named) / named.mean(), clusters)
            measured["facts"] = Interval(share, share + change.low, share + change.high)
        return measured


def _in_context(model, tokenizer, settings, rows, train_rows, judge):
    """(name, measures) of every way of prompting, of two differences, and of what takes no model."""
    outcomes = {}
    for name, options in CONDITIONS.items():
        outcome = outcomes[name] = run_condition(name, model, tokenizer, settings, rows, train_rows, **options)
        yield name, judge(outcome.completions, rows)
    clusters = clusters_of(rows)
    for name, pair in DIFFERENCES.items():
        scores = {metric: [outcomes[each].per_dialogue(metric) for each in pair] for metric in ("rouge1", "rougeL")}
        yield name, {metric: difference_over_seeds(*both, clusters) for metric, both in scores.items()}
    for name, texts in baselines(rows).items():
        yield name, judge([texts], rows)
    ceiling = reference_ceiling(rows)
    if ceiling is not None:
        yield "reference against the others", {"rougeL": mean_over_seeds(ceiling, clusters)}


def fine_tuned(model, tokenizer, settings, data, work):
    """Runs of full fine-tuning as in lab 2, one for each of `SEEDS`."""
    pairs = [
        encode_pairs(*summary_pairs(rows), tokenizer, settings.max_prompt_tokens, settings.max_new_tokens)
        for rows in (data["train"], list(data["validation"])[:100])
    ]
    for seed in SEEDS:
        seeded = replace(settings, seed=seed)
        seed_everything(seeded)
        yield train(model, tokenizer, *pairs, full(), seeded, work / "fine-tuned", name=f"full-s{seed}")


def fine_tuned_texts(run, tokenizer, settings, rows, seed):
    """{GREEDY: texts, SAMPLED: texts} of a run."""
    prompts = [build_prompt(row["dialogue"]) for row in rows]
    options = {"max_new_tokens": settings.max_new_tokens, "batch_size": settings.generation_batch_size}
    return {
        GREEDY: generate(run.model, tokenizer, prompts, **options),
        SAMPLED: generate(run.model, tokenizer, prompts, do_sample=True, seed=seed, **options),
    }


def _fine_tuning(model, tokenizer, settings, data, parts, judge, work):
    """{part: {GREEDY and SAMPLED: measures}}, of a run for each of `SEEDS`."""
    texts = {part: {GREEDY: [], SAMPLED: []} for part in parts}
    for seed, run in zip(SEEDS, fine_tuned(model, tokenizer, settings, data, work)):
        for part, rows in parts.items():
            for name, found in fine_tuned_texts(run, tokenizer, settings, rows, seed).items():
                texts[part][name].append(found)
    return {part: {name: judge(runs, rows) for name, runs in texts[part].items()} for part, rows in parts.items()}


def measure(out, work, most=None):
    """Results of the model in `out` on its data, by part of the test split; `most` limits rows and steps."""
    settings = load_settings("pocket", model=str(out / "model"), data=str(out / "data"))
    if most:
        settings = replace(settings, train_steps=most)
    tokenizer, model = load_seq2seq(settings)
    data = load_dialogues(settings)
    judge = Judge(settings, data)
    parts = {part: rows[: most or ROWS[part]] for part, rows in (by_part(data["test"]) | by_part(data["wild"])).items()}
    train_rows, tasks = list(data["train"]), list(load_tasks(settings))
    results = {}
    tuned = _fine_tuning(model, tokenizer, settings, data, parts, judge, work)
    for part, rows in parts.items():
        ids = {row["id"] for row in rows}
        found = dict(_in_context(model, tokenizer, settings, rows, train_rows, judge)) | tuned[part]
        asked = [row for row in tasks if row["id"] in ids]
        if asked:
            found |= {
                f"task: {task}": {"exact match": interval}
                for task, interval in score_tasks(asked, model, tokenizer, settings).items()
            }
        results[part] = {
            name: {metric: asdict(interval) for metric, interval in scores.items()} for name, scores in found.items()
        }
    return results


def to_read(out, work, count=50):
    """Dialogues that nobody has looked at, with the greedy summary of lab 2's fine-tuned model: [(row, summary)].

    The generator makes them from known scenarios with held-out values, as in the test split; none is in the data.
    """
    settings = load_settings("pocket", model=str(out / "model"), data=str(out / "data"))
    tokenizer, model = load_seq2seq(settings)
    data = load_dialogues(settings)
    corpus = splits.Corpus()
    taken = {row["dialogue"] for split in data.values() for row in split}
    plays = corpus.plays(count, corpus.known, "reading", True, taken)
    rows = [splits.row(play, f"reading-{number:02d}", "known", "reading") for number, play in enumerate(plays, 1)]
    run = next(iter(fine_tuned(model, tokenizer, settings, data, work)))
    return list(zip(rows, fine_tuned_texts(run, tokenizer, settings, rows, SEEDS[0])[GREEDY]))


def show(interval):
    """The estimate with its interval, three digits."""
    return f"{interval['estimate']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]" if interval else ""


def goals_table(measured):
    """Markdown: what the model must show, what it shows, and whether that is enough."""
    lines = ["| measure, known dialogues | goal | measured | |", "|---|---|---|---|"]
    for what, row, metric, kind, bound in GOALS:
        found = measured["known"].get(row, {}).get(metric)
        if found is None:
            continue
        # A difference must keep its bound with its whole interval; the other goals are for the estimate.
        value = found["low" if kind == "at least" else "high"] if row in DIFFERENCES else found["estimate"]
        kept = value >= bound if kind == "at least" else value <= bound
        lines.append(f"| {what} | {kind} {bound:g} | {show(found)} | {'reached' if kept else 'missed'} |")
    return "\n".join(lines)


def parts_tables(measured):
    """Markdown: one table for each part of the data."""
    columns = {name: name for name in ("rouge1", "rougeL", "broken", "new words", "facts", "exact match")}
    columns |= {"rouge1": "ROUGE-1", "rougeL": "ROUGE-L", "broken": "broken words"}
    tables = []
    for part, found in measured.items():
        lines = "\n".join(
            f"| {name} | " + " | ".join(show(scores.get(metric)) for metric in columns) + " |"
            for name, scores in found.items()
        )
        tables.append(f"### {part}\n| | {' | '.join(columns.values())} |\n|{'---|' * (1 + len(columns))}\n{lines}\n")
    return "\n".join(tables)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HOME, help="the folder with model and data (default: the shipped)")
    parser.add_argument("--work", type=Path, default=HOME.parent / "build" / "report", help="fine-tuned models; kept")
    parser.add_argument("--read", action="store_true", help="print 50 new dialogues and their summaries, to be read")
    chosen = parser.parse_args(arguments)
    if chosen.read:
        for row_, summary in to_read(chosen.out, chosen.work):
            references = "\n  reference: ".join(row_["summaries"])
            print(f"== {row_['id']}\n{row_['dialogue']}\n  SUMMARY: {summary}\n  reference: {references}\n")
        return
    measured = measure(chosen.out, chosen.work)
    (chosen.out / "model" / "results.json").write_text(
        json.dumps(measured, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    print(f"{goals_table(measured)}\n\n{parts_tables(measured)}")


if __name__ == "__main__":
    main()
