"""The cards of the data and the model: every number in them is counted or measured here, none is typed."""

from __future__ import annotations

import platform
from collections import Counter

import datasets
import numpy as np
import torch
import transformers

from helpers.alignment.reward_model import ClassifierReward, judged_toxicity
from helpers.evaluation.statistics import mean_interval
from helpers.models.sizes import count_parameters
from pocket.report import ROWS, SEEDS, goals_table, parts_tables
from pocket.reward import ADVERSARIAL, ALL_INSULTS, CLEAN, HEATED, INSULTING, Sentences


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

- `known`: scenarios that the training split has too, with slot values (names, things, times …) that their slots never
  have there. What is held out is the *combination*: the words themselves are in the model's vocabulary, from lists of
  words and from other scenarios' slots. The lines around the slots are the same, so 8-grams are shared; whole dialogues
  never are.
- `unseen`: scenarios of which neither the training split nor the model's pre-training saw anything:
  {", ".join(scenario.name for scenario in corpus.unseen)}.
- Columns: `id`, `topic`, `dialogue`, `summary`, `summaries` (all references), `headline` (the content in another
  style), `rude`, `neutral` and `blunt` (a rude dialogue's two kinds of summary), `part`, `scenario`.
- Rude dialogues hold mild insults, marked by `rude`; polite ones hold none, but for a few harmless uses of the
  words, which the tests list. They serve the lab on detoxification.
- Limits: small talk and conflicts of a few dozen situations, in one variety of English, by few authors; the summaries
  share their habits, and outside `wild` all references of a dialogue come from the same scenario's wordings. Results on
  these dialogues say little about other text: that is what `wild` is there to show. In every dialogue of a scenario the
  references take its wordings in the same order. A model can learn that order in training and then scores higher than a
  perfect writer who chooses freely would: read ROUGE on `known` as a measure of what was learned, not of writing.

Licence: CC0 1.0. Made to be taken apart.
"""


def model_card(recipe, log, measured, vocabulary):
    """The model's README, with the results that `pocket.report.measure` gave.

    Args:
        vocabulary: (words of the lexicon, tokens in all).
    """
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
  heads of {recipe.d_kv}, {recipe.layers} encoder and {recipe.decoder_layers} decoder layers.
- Vocabulary: {vocabulary[1]:,} tokens. The {vocabulary[0]:,} words of its world are whole, as the usual words of a
  language are for a large model; other words fall into unigram pieces, and what has no piece into bytes.
- Pre-training: {last["pool"] * recipe.pool_size:,} examples, {last["tokens"]:,} tokens, {last["seconds"] / 60:.0f}
  minutes on two cores ({platform.machine()}; products in bfloat16, weights in float32); Muon at {recipe.matrix_rate}
  for matrices, AdamW at {recipe.vector_rate} for embeddings (3 times), positions (3 times) and norms, constant and then
  falling to a fiftieth. Last losses on held-out values:
  {", ".join(f"{name} {last[name]}" for name in ("0-shot", "1-shot", "3-shot", "question"))} nats per token.
- Mixture (`pocket/mixture.py`): words to copy and very short dialogues first; then summaries in one of some two
  thousand styles that an instruction or exemplars tell, questions, zero-shot summaries, span corruption, continuation,
  topic, speaker, tone; last, whole dialogues with exemplars whose style varies from text to text. The data set's own
  style of summary occurs in a few per cent of the few-shot prompts and in no zero-shot one.
- Never trained on: collected text of any kind; the unseen scenarios; `wild`; a held-out slot value in its own scenario.
  Of all these it knows the single words, from lists to copy, and of held-out values from other scenarios' slots.
- Made with torch {torch.__version__.split("+")[0]}, transformers {transformers.__version__}, datasets
  {datasets.__version__}, by `python -m pocket.build`; measured by `python -m pocket.report`. A rebuild goes through the
  same examples; on another processor its weights will not be equal bit for bit.

## What it must show
{goals_table(measured)}

A word is *new to training* if it stands neither in the dialogue, nor in a reference, nor in the training split. It may
be a real word: of another style, or a value of another scenario. It is *broken* if it is not among the words of this
world (`pocket/world.json`) either. Facts: of the slot values that the summaries name, the share that the dialogue
holds. Fifty summaries of new dialogues were read one by one: [reading.md](reading.md).

## Results
The first {", ".join(f"{count} {part}" for part, count in ROWS.items())} dialogues; means with 95% intervals over
scenarios, and for fine-tuning over {len(SEEDS)} runs and scenarios together; best of three references.

{parts_tables(measured)}"""


def measure_reward(model, tokenizer, corpus, recipe, count=1000):
    """How often the classifier is right: on held-out sentences, on the adversarial ones, and how well it agrees with
    the independent judge.
    """
    reward = ClassifierReward(model, tokenizer)
    held_out = Sentences(corpus, held_out=True).sample(count if recipe.steps > 100 else 20, recipe.seed)
    texts, targets = zip(*held_out)
    labels, scores = np.array(targets) > 0.5, reward(texts).numpy()
    found, judged = reward.toxicity(texts), judged_toxicity(texts)
    adversarial = reward.toxicity([text for _, text, _ in ADVERSARIAL])
    return {
        "held-out sentences": len(texts),
        "accuracy": str(mean_interval((found > 0.5) == labels)),
        "found of the toxic": float((found > 0.5)[labels].mean()),
        "false alarms": float((found > 0.5)[~labels].mean()),
        "rewards": [round(float(value), 2) for value in np.percentile(scores, (2.5, 25, 50, 75, 97.5))],
        "between its ends": float(((scores > scores.min() + 1) & (scores < scores.max() - 1)).mean()),
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
steps of {recipe.batch_size} on {recipe.examples:,} generated sentences and summaries, half of them with an insult. Its
targets are graded: {CLEAN} without an insult, {HEATED} in a quarrel told without one, {INSULTING} to {ALL_INSULTS} with
insults, by the share of the sentences that hold one. Made by `python -m pocket.build --only reward`. Labels:
{", ".join(model.config.id2label.values())}; the reward is the logit of `nothate`.

On {measured["held-out sentences"]:,} held-out sentences (slot values and scenarios that the training never saw) it is
right in {measured["accuracy"]} of all cases; it finds {measured["found of the toxic"]:.0%} of the toxic ones and raises
false alarms on {measured["false alarms"]:.0%} of the others. Rewards run from {measured["rewards"][0]} to
{measured["rewards"][-1]} (middle 95%; quartiles {", ".join(map(str, measured["rewards"][1:-1]))});
{measured["between its ends"]:.0%} lie more than 1 from both ends. Its correlation with an independent judge
(alt-profanity-check, trained on labelled comments) is {measured["correlation with the independent judge"]:.2f}.

It knows the insults of the generator and little else. {right} of {len(measured["adversarial"])} adversarial sentences
are judged as people would:

| kind | text | offensive to people | toxicity |
|---|---|---|---|
{cases}

Use it to learn how rewards work and fail. It is no moderation tool.
"""
