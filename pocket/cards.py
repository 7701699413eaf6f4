"""The cards of the data and the model: every number in them is counted or measured here, none is typed."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict

import datasets
import numpy as np
import torch
import transformers

from helpers.alignment.reward_model import ClassifierReward, judged_toxicity
from helpers.data.loading import load_dialogues, load_tasks
from helpers.evaluation.experiments import baselines, by_part, reference_ceiling, run_condition, score_tasks
from helpers.evaluation.metrics import rouge_per_dialogue
from helpers.evaluation.statistics import mean_interval
from helpers.models.loading import load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.settings import load_settings
from pocket.reward import ADVERSARIAL, Sentences

CONDITIONS = {
    "no instruction": {"template": "none"},
    "zero-shot": {},
    "one-shot": {"shots": 1},
    "two-shot": {"shots": 2},
    "three-shot": {"shots": 3},
    "wrong style (one exemplar)": {"shots": 1, "wrong_style": True},
}
CARD_ROWS = 60  # of each part: a few minutes; the lab measures on more


def shared_ngrams(texts, others, n=8):
    """The share of the texts' n-grams of words that occur in the others too, in [0, 1]."""

    def grams(text):
        return {
            tuple(words[start : start + n]) for words in [text.lower().split()] for start in range(len(words) - n + 1)
        }

    known = set().union(*(grams(text) for text in others))
    found = [gram for text in texts for gram in grams(text)]
    return sum(gram in known for gram in found) / max(1, len(found))


def _split_lines(rows):
    train = [row["dialogue"] for row in rows["train"]]
    for split, found in rows.items():
        for part, count in Counter(row["part"] for row in found).items():
            some = [row for row in found if row["part"] == part]
            words = sum(len(row["dialogue"].split()) for row in some) / count
            turns = sum(row["dialogue"].count("\n") + 1 for row in some) / count
            overlap = "" if part == "train" else f"{shared_ngrams([row['dialogue'] for row in some], train):.0%}"
            yield (
                f"| {split} | {part} | {count} | {len({row['scenario'] for row in some} - {''}) or '-'} | "
                f"{turns:.1f} | {words:.0f} | "
                f"{sum(row['rude'] for row in some) / count:.0%} | {len(some[0]['summaries'])} | {overlap} |"
            )


def data_card(rows, corpus):
    """The data set's README."""
    lines = "\n".join(_split_lines(rows))
    return f"""---
license: cc0-1.0
language: en
---
# Pocket dialogues

Everyday dialogues with summaries, written for this project; nothing in them was collected or copied. The splits train,
validation and test are made by `python -m pocket.build --only data` from {len(corpus.world.scenarios)} hand-written
scenarios (`pocket/scenarios/`); the dialogues of `wild` were written one by one, without the generator.

| split | part | dialogues | scenarios | turns | words | rude | references | 8-grams shared with train |
|---|---|---|---|---|---|---|---|---|
{lines}

- `known`: scenarios that the training split has too, with slot values (names, things, times …) that it never has.
  The lines around the slots are the same, so 8-grams are shared; whole dialogues never are.
- `unseen`: scenarios of which neither the training split nor the model's pre-training saw anything:
  {", ".join(scenario.name for scenario in corpus.unseen)}.
- Columns: `id`, `topic`, `dialogue`, `summary`, `summaries` (all references), `headline` (the content in another
  style), `rude`, `neutral` and `blunt` (a rude dialogue's two kinds of summary), `part`, `scenario`.
- Rude dialogues hold mild insults, marked by `rude`; polite ones hold none, but for a few harmless uses of the
  words, which the tests list. They serve the lab on detoxification.
- Limits: small talk and conflicts of a few dozen situations, in one variety of English, by few authors; the summaries
  share their habits, and outside `wild` all references of a dialogue come from the same scenario's wordings. Results on
  these dialogues say little about other text: that is what `wild` is there to show.

Licence: CC0 1.0. Made to be taken apart.
"""


def _summary_rows(model, tokenizer, settings, dialogues, train):
    for name, options in CONDITIONS.items():
        outcome = run_condition(name, model, tokenizer, settings, dialogues, train, **options)
        yield name, {metric: outcome.interval(metric) for metric in ("rouge1", "rougeL")}
    for name, texts in baselines(dialogues).items():
        scores = rouge_per_dialogue(texts, [row["summaries"] for row in dialogues])
        yield name, {metric: mean_interval(scores[metric]) for metric in ("rouge1", "rougeL")}
    ceiling = reference_ceiling(dialogues)
    if ceiling is not None:
        yield "reference against the others", {"rougeL": mean_interval(ceiling)}


def measure(out, rows=CARD_ROWS):
    """Results of the model in `out` on its data, by part of the test split; on the first `rows` of each part."""
    settings = load_settings("pocket", model=str(out / "model"), data=str(out / "data"))
    tokenizer, model = load_seq2seq(settings)
    data, results = load_dialogues(settings), {}
    train = list(data["train"])
    for part, dialogues in (by_part(data["test"]) | by_part(data["wild"])).items():
        chosen = dialogues[:rows]
        results[part] = {
            name: {metric: asdict(interval) for metric, interval in found.items()}
            for name, found in _summary_rows(model, tokenizer, settings, chosen, train)
        }
    tasks = list(load_tasks(settings))
    for part, dialogues in by_part(data["test"]).items():
        chosen = {row["id"] for row in dialogues[:rows]}
        scores = score_tasks([row for row in tasks if row["id"] in chosen], model, tokenizer, settings)
        results[part] |= {f"task: {task}": {"exact match": asdict(interval)} for task, interval in scores.items()}
    return results


def _show(interval):
    return f"{interval['estimate']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]" if interval else ""


def model_card(recipe, log, measured):
    """The model's README, with the results that `measure` gave."""
    tables = []
    for part, found in measured.items():
        lines = "\n".join(
            f"| {name} | {_show(scores.get('rouge1'))} | {_show(scores.get('rougeL'))} | "
            f"{_show(scores.get('exact match'))} |"
            for name, scores in found.items()
        )
        tables.append(f"### {part}\n| | ROUGE-1 | ROUGE-L | exact match |\n|---|---|---|---|\n{lines}\n")
    last = log[-1]
    return f"""---
license: cc0-1.0
language: en
---
# pocket-t5

A T5 v1.1 small enough to travel with the kit and to run a lab in minutes on two cores. It exists to show what larger
models do (follow an instruction, take style from exemplars, answer questions, forget) on dialogues of a few dozen
everyday situations. It is of no use for anything else, as the results on `wild` show.

- Architecture: T5 v1.1 (gated GELU, tied embeddings): d_model {recipe.d_model}, d_ff {recipe.d_ff}, {recipe.heads}
  heads of {recipe.d_kv}, {recipe.layers} encoder and {recipe.decoder_layers} decoder layers; unigram vocabulary with
  bytes as a fallback.
- Pre-training: {last["pool"] * recipe.pool_size:,} examples, {last["tokens"]:,} tokens, {last["seconds"] / 60:.0f}
  minutes on two cores ({platform.machine()}, float32), AdamW at {recipe.learning_rate} (0.15 of it for attention
  queries, 3 times for embeddings and relative positions), linear decay, then {1 + len(recipe.polishing_pools)} times
  more from half of it. Last losses on held-out values:
  {", ".join(f"{name} {last[name]}" for name in ("0-shot", "1-shot", "3-shot", "question"))} nats per token.
- Mixture (`pocket/mixture.py`): words to copy and very short dialogues first; then few-shot prompts whose exemplars and
  target share one of some ten thousand styles or, at the end, a family of them that varies from text to text,
  questions, zero-shot and instructed summaries, span corruption, continuation, topic, speaker, tone. The data set's own
  style of summary occurs in a few per cent of the few-shot prompts and in no zero-shot one.
- Never trained on: collected text of any kind; the unseen scenarios; the held-out slot values.
- Made with torch {torch.__version__.split("+")[0]}, transformers {transformers.__version__}, datasets
  {datasets.__version__}, by `python -m pocket.build`, in stages from one seed, each added when the ones before had been
  seen. A rebuild goes through the same stages and examples; its weights will not be equal bit for bit, as the first
  {recipe.pools + recipe.refining_pools} pools ran with an earlier kernel of the same attention, and the first three of
  the last stage at slightly other rates.

## Results (first {CARD_ROWS} dialogues of each part; means with 95% intervals by dialogue; best of three references)
{chr(10).join(tables)}"""


def measure_reward(model, tokenizer, corpus, recipe, count=1000):
    """How often the classifier is right: on held-out sentences, on the adversarial ones, and how well it agrees with
    the independent judge.
    """
    reward = ClassifierReward(model, tokenizer)
    held_out = Sentences(corpus, held_out=True).sample(count if recipe.steps > 100 else 20, recipe.seed)
    texts, labels = zip(*held_out)
    found, judged = reward.toxicity(texts), judged_toxicity(texts)
    adversarial = reward.toxicity([text for _, text, _ in ADVERSARIAL])
    return {
        "held-out sentences": len(texts),
        "accuracy": str(mean_interval((found > 0.5) == np.array(labels))),
        "found of the toxic": float((found > 0.5)[np.array(labels)].mean()),
        "false alarms": float((found > 0.5)[~np.array(labels)].mean()),
        "correlation with the independent judge": float(np.corrcoef(found, judged)[0, 1]),
        "adversarial": [
            {"kind": kind, "text": text, "offensive": offensive, "toxicity": round(float(value), 3)}
            for (kind, text, offensive), value in zip(ADVERSARIAL, adversarial)
        ],
    }


def reward_card(recipe, model, measured):
    """The reward model's README."""
    right = sum((case["toxicity"] > 0.5) == case["offensive"] for case in measured["adversarial"])
    cases = "\n".join(
        f"| {case['kind']} | {case['text']} | {'yes' if case['offensive'] else 'no'} | {case['toxicity']:.2f} |"
        for case in measured["adversarial"]
    )
    return f"""---
license: cc0-1.0
language: en
---
# Reward model of the pocket profile

A classifier of mild toxicity (BERT's architecture, {recipe.layers} layers of width {recipe.hidden},
{count_parameters(model).total:,} parameters, the vocabulary of `pocket/model`), trained from nothing for {recipe.steps}
steps of {recipe.batch_size} on {recipe.examples:,} generated sentences and summaries, half of them with an insult. Made
by `python -m pocket.build --only reward`. Labels: {", ".join(model.config.id2label.values())}; the reward is the logit
of `nothate`.

On {measured["held-out sentences"]:,} held-out sentences (slot values and scenarios that the training never saw) it is
right in {measured["accuracy"]} of all cases; it finds {measured["found of the toxic"]:.0%} of the toxic ones and raises
false alarms on {measured["false alarms"]:.0%} of the others. Its correlation with an independent judge
(alt-profanity-check, trained on labelled comments) is {measured["correlation with the independent judge"]:.2f}.

It knows the insults of the generator and little else. {right} of {len(measured["adversarial"])} adversarial sentences
are judged as people would:

| kind | text | offensive to people | toxicity |
|---|---|---|---|
{cases}

Use it to learn how rewards work and fail. It is no moderation tool.
"""
