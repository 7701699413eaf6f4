"""Prompts: templates, exemplars, and the context window as a budget. Text only; no model is needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helpers.models.characters import half_character

TEMPLATES = {
    "conversation": "Summarize the following conversation.\n\n{dialogue}\n\nSummary:",
    "going-on": "Dialogue:\n\n{dialogue}\n\nWhat was going on?",
    "briefly": "{dialogue}\n\nBriefly summarize that dialogue.",
    "here-is": "Here is a dialogue:\n\n{dialogue}\n\nWrite a short summary!",
    "tldr": "{dialogue}\n\nTL;DR:",
    "none": "{dialogue}",
}
SHIPPED = tuple(TEMPLATES)  # a learner may add others
TASKS = {
    "question": "{dialogue}\n\nQuestion: {question}\nAnswer:",
    "topic": "{dialogue}\n\nWhat is the topic of this dialogue?",
    "speaker": "{dialogue}\n\nWho says this? {line}\nSpeaker:",
    "tone": "{dialogue}\n\nIs the tone polite or rude?",
}
SEPARATOR = "\n\n\n"


@dataclass(frozen=True)
class FittedPrompt:
    """A prompt within a budget of tokens: its text and length, which exemplars stayed and which were dropped."""

    text: str
    tokens: int
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


def _template(name):
    if name not in TEMPLATES:
        raise ValueError(f"template: {name!r} is not one of {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def _checked(dialogue, what):
    if not isinstance(dialogue, str) or not dialogue.strip():
        raise ValueError(f"{what}: {dialogue!r} is empty; a prompt needs a dialogue with at least one line")
    if found := half_character(dialogue):
        raise ValueError(f"{what}: {dialogue[:60]!r} {found}; write the character again")
    return dialogue.strip()


def _pair(example, number):
    """(dialogue, summary) of a row or a pair."""
    dialogue, summary = (example["dialogue"], example["summary"]) if isinstance(example, Mapping) else example
    return _checked(dialogue, f"examples[{number}] dialogue"), _checked(summary, f"examples[{number}] summary")


def build_prompt(dialogue: str, examples: Sequence = (), template: str = "conversation") -> str:
    """The prompt for one dialogue, with solved examples before it (zero-, one-, few-shot).

    Args:
        dialogue: the text to summarize.
        examples: rows with "dialogue" and "summary", or pairs of the two, in the order in which they shall stand.
        template: a name in `TEMPLATES`; "none" gives the bare dialogue, without an instruction.
    Raises:
        ValueError: unknown template, empty dialogue or summary, half a character in one; the message names which.
    Source: few-shot prompting, Brown et al. 2020, section 2; template wording in the manner of FLAN (Wei et al. 2022).
    """
    form = _template(template)
    solved = [
        f"{form.format(dialogue=_checked(text, 'dialogue'))} {summary}"
        for text, summary in (_pair(example, number) for number, example in enumerate(examples))
    ]
    return SEPARATOR.join([*solved, form.format(dialogue=_checked(dialogue, "dialogue"))])


def fit_prompt(
    dialogue: str, examples: Sequence, tokenizer, max_tokens: int, template: str = "conversation"
) -> FittedPrompt:
    """`build_prompt` within a context window: drops whole examples, the first ones first, and reports which.

    Args:
        tokenizer: called on a text, gives "input_ids" (the end token counts).
        max_tokens: size of the window in tokens; the tokenizer's own (`model_max_length`) counts where it is smaller.
    Raises:
        ValueError: the dialogue alone does not fit; it is never cut.
    """
    max_tokens = min(max_tokens, getattr(tokenizer, "model_max_length", max_tokens))
    for first in range(len(examples) + 1):
        text = build_prompt(dialogue, examples[first:], template)
        tokens = len(tokenizer(text, verbose=False)["input_ids"])  # too long is for us to say
        if tokens <= max_tokens:
            return FittedPrompt(text, tokens, tuple(range(first, len(examples))), tuple(range(first)))
    raise ValueError(
        f"max_tokens: the dialogue alone takes {tokens} tokens with template {template!r}, the window holds "
        f"{max_tokens}; shorten the dialogue or choose a model with a longer window"
    )


def build_task(task: str, dialogue: str, **fields: str) -> str:
    """The prompt of another task about a dialogue; `TASKS` lists them with the fields each needs.

    Raises:
        ValueError: unknown task, or a field that the task needs is missing.
    """
    if task not in TASKS:
        raise ValueError(f"task: {task!r} is not one of {', '.join(TASKS)}")
    try:
        return TASKS[task].format(dialogue=_checked(dialogue, "dialogue"), **fields)
    except KeyError as missing:
        raise ValueError(f"task {task!r} needs the field {missing}") from None
