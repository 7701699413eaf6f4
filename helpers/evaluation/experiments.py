"""In-context experiments: exemplars are drawn, prompts built and generated from, completions scored per dialogue."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.data.loading import has_tasks, load_tasks
from helpers.data.prompts import fit_prompt
from helpers.evaluation.metrics import exact_match_per_dialogue, rouge_per_dialogue
from helpers.evaluation.statistics import Interval, mean_interval
from helpers.models.generation import generate


@dataclass(frozen=True)
class Outcome:
    """What one way of prompting gave.

    Attributes:
        name: of the way of prompting.
        completions: D lists (draws of exemplars) of N texts.
        scores: ROUGE type -> (D, N) F1 in [0, 1], best of the reference summaries.
        dropped: exemplars that did not fit into the window, in all prompts together.
        clusters: N names; dialogues of one name are drawn together (`clusters_of`). None: every dialogue alone.
    """

    name: str
    completions: list[list[str]]
    scores: dict[str, np.ndarray]
    dropped: int
    clusters: list[str] | None = None

    def per_dialogue(self, metric: str = "rougeL") -> np.ndarray:
        """(N,) the mean over draws, one number a dialogue."""
        return self.scores[metric].mean(axis=0)

    def interval(self, metric: str = "rougeL") -> Interval:
        """The mean over dialogues with its interval over clusters."""
        return mean_interval(self.per_dialogue(metric), self.clusters)


def headline(row) -> str:
    """The same content in another style: the row's own headline, or its topic, or the first words of its summary."""
    return row.get("headline") or row.get("topic") or " ".join(row["summary"].split()[:4])


def draw_exemplars(train: Sequence, shots: int, count: int, seed, wrong_style: bool = False) -> list[list[dict]]:
    """`shots` solved examples for each of `count` prompts, drawn anew for each.

    They come from the shorter half of the training dialogues: several of them must fit into the window.

    Args:
        seed: anything with a stable text form; the same seed draws the same ones.
        wrong_style: their summaries are replaced by headlines.
    Raises:
        ValueError: fewer training dialogues than shots.
    """
    rows = sorted(train, key=lambda row: len(row["dialogue"]))
    rows = rows[: max(shots, (len(rows) + 1) // 2)]
    if len(rows) < shots:
        raise ValueError(f"shots: {shots} exemplars asked for, the training split has {len(rows)} dialogues")
    rng = random.Random(f"exemplars|{seed}")
    drawn = [rng.sample(rows, shots) for _ in range(count)]
    return [[{**row, "summary": headline(row)} for row in some] for some in drawn] if wrong_style else drawn


def run_condition(
    name: str,
    model,
    tokenizer,
    settings,
    dialogues: Sequence,
    train: Sequence = (),
    shots: int = 0,
    draws: int = 1,
    template: str = "conversation",
    wrong_style: bool = False,
) -> Outcome:
    """Greedy summaries of all dialogues under one way of prompting, scored against all their reference summaries.

    Args:
        dialogues: N rows with dialogue and summaries; train: rows that exemplars are drawn from.
        shots: exemplars in a prompt; draws: how often they are drawn (D); without shots one draw is all there is.
    """
    completions, scores, dropped = [], [], 0
    for draw in range(draws if shots else 1):
        exemplars = draw_exemplars(train, shots, len(dialogues), (settings.seed, draw), wrong_style)
        prompts = [
            fit_prompt(row["dialogue"], some, tokenizer, settings.max_prompt_tokens, template)
            for row, some in zip(dialogues, exemplars)
        ]
        dropped += sum(len(prompt.dropped) for prompt in prompts)
        completions.append(
            generate(
                model,
                tokenizer,
                [prompt.text for prompt in prompts],
                max_new_tokens=settings.max_new_tokens,
                batch_size=settings.generation_batch_size,
            )
        )
        scores.append(rouge_per_dialogue(completions[-1], [row["summaries"] for row in dialogues]))
    by_metric = {metric: np.stack([score[metric] for score in scores]) for metric in scores[0]}
    return Outcome(name, completions, by_metric, dropped, clusters_of(dialogues))


def clusters_of(rows: Sequence) -> list[str]:
    """What each row is alike with others in, and intervals draw together: its scenario in the kit's own data, its
    `group` in data that have such a column, else the dialogue itself.
    """
    names = ("scenario", "group", "id")
    return [str(next(row[name] for name in names if row.get(name) not in (None, ""))) for row in rows]


def by_part(split: Sequence) -> dict[str, list[dict]]:
    """The rows of a split by their `part` (known, unseen …), in the order of first appearance; one part where there is
    none.
    """
    parts: dict[str, list[dict]] = {}
    for row in split:
        parts.setdefault(row.get("part") or "test", []).append(row)
    return parts


def rude_rows(split: Sequence) -> list[dict]:
    """The rows that the data set marks as rude; all of them where it marks none (only `pocket` does)."""
    rows = list(split)
    return [row for row in rows if row.get("rude")] or rows


def load_task_rows(settings, part: str) -> list[dict]:
    """The other tasks about the dialogues of one part; none where the data set comes without tasks (only `pocket` has
    some).
    """
    return [row for row in load_tasks(settings) if row["part"] == part] if has_tasks(settings) else []


def answered_exactly(tasks: Sequence, model, tokenizer, settings) -> np.ndarray:
    """(N,) 1 where the greedy answer to a task matches exactly (case, articles and full stops aside), else 0.

    Args:
        tasks: N rows with prompt and answer, as `load_tasks` gives them.
    """
    answers = generate(
        model, tokenizer, [row["prompt"] for row in tasks], max_new_tokens=24, batch_size=settings.generation_batch_size
    )
    return exact_match_per_dialogue(answers, [row["answer"] for row in tasks])


def by_task(tasks: Sequence, values: Sequence[float]) -> dict[str, Interval]:
    """Task -> interval of the values of its rows, clustered by dialogue; `tasks` has rows with id and task."""
    names, ids, values = (
        np.array([row["task"] for row in tasks]),
        np.array([row["id"] for row in tasks]),
        np.asarray(values),
    )
    return {str(name): mean_interval(values[names == name], ids[names == name]) for name in np.unique(names)}


def score_tasks(tasks: Sequence, model, tokenizer, settings) -> dict[str, Interval]:
    """Task -> share of answers that match exactly, with its interval clustered by dialogue.

    Args:
        tasks: rows with id, task, prompt and answer, as `load_tasks` gives them.
    """
    return by_task(tasks, answered_exactly(tasks, model, tokenizer, settings))


def baselines(dialogues: Sequence) -> dict[str, list[str]]:
    """Summaries that take no model: the first two turns, and the whole dialogue."""
    return {
        "baseline: first two turns": [" ".join(row["dialogue"].split("\n")[:2]) for row in dialogues],
        "baseline: whole dialogue": [row["dialogue"].replace("\n", " ") for row in dialogues],
    }


def reference_ceiling(dialogues: Sequence) -> np.ndarray | None:
    """(N,) ROUGE-L of each dialogue's first reference against the others: the human ceiling, where people wrote them.
    None where there is only one.
    """
    if any(len(row["summaries"]) < 2 for row in dialogues):
        return None
    return rouge_per_dialogue([row["summaries"][0] for row in dialogues], [row["summaries"][1:] for row in dialogues])[
        "rougeL"
    ]
