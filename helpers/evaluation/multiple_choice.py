"""Multiple choice as benchmarks do it: each option scored by its log-likelihood behind the question."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import DynamicCache

from helpers.models.generation import GenerationError, check_positions, encode_prompts, evaluating, padded
from helpers.progress import progress
from helpers.settings import POCKET

QUESTIONS = POCKET / "benchmark" / "questions.jsonl"
LETTERS = "ABCD"
SPLITS = ("example", "test")
LENGTHS = ("none", "token", "byte")


class QuestionError(ValueError):
    """A line of a file of questions that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True)
class Question:
    """A question with four options, one of which is right.

    Attributes:
        category: what it is about; options: four different texts; answer: the right one of them.
    """

    id: str
    category: str
    question: str
    options: tuple[str, ...]
    answer: str

    @property
    def right(self) -> int:
        """The place of the right option, 0 to 3."""
        return self.options.index(self.answer)

    def reordered(self, order: Sequence[int]) -> Question:
        """The same question with its options in another order, which lists their present places."""
        return replace(self, options=tuple(self.options[place] for place in order))

    def prompt(self, letters: bool = False) -> str:
        """The question up to where the answer begins; with letters, the options stand below it, a line each."""
        shown = [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options)] if letters else []
        return "\n".join([f"Question: {self.question}", *shown, "Answer:"])

    def continuations(self, letters: bool = False) -> list[str]:
        """The four answers that are scored behind the prompt: the options' texts, or their letters."""
        return [f" {text}" for text in (LETTERS if letters else self.options)]

    def solved(self, letters: bool = False) -> str:
        """The question with its answer: an exemplar for a prompt with several shots."""
        return f"{self.prompt(letters)}{self.continuations(letters)[self.right]}\n"


def _question(row, place):
    """A Question from a line's object."""
    wanted = {"id": str, "split": str, "category": str, "question": str, "options": list, "answer": str}
    if not isinstance(row, dict) or set(row) != set(wanted):
        raise QuestionError(f"{place}: must have exactly {', '.join(wanted)}; correct the line")
    for name, kind in wanted.items():
        if not isinstance(row[name], kind) or not row[name]:
            raise QuestionError(f"{place}: {name} is {row[name]!r}; give a {kind.__name__} that is not empty")
    if len(row["options"]) != len(LETTERS) or len(set(row["options"])) != len(LETTERS):
        raise QuestionError(f"{place}: options are {row['options']!r}; give {len(LETTERS)} different texts")
    if row["answer"] not in row["options"]:
        raise QuestionError(f"{place}: the answer {row['answer']!r} is none of the options; correct one of them")
    if row["split"] not in SPLITS:
        raise QuestionError(f"{place}: split is {row['split']!r}; choose one of {', '.join(SPLITS)}")
    return Question(row["id"], row["category"], row["question"], tuple(row["options"]), row["answer"])


def load_questions(split: str = "test", file: Path = QUESTIONS) -> list[Question]:
    """The questions of one split, in the order of the file; "example" has one a category, to show in prompts.

    Raises:
        QuestionError: an unknown split, a file that cannot be read, a line that is no question, an id that occurs
            twice.
    """
    if split not in SPLITS:
        raise QuestionError(f"split: {split!r} is not one of {', '.join(SPLITS)}")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionError(f"{file}: cannot be read as UTF-8 text ({error}); restore it from the kit") from None
    found, ids = [], set()
    for number, line in enumerate(lines, 1):
        place = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise QuestionError(f"{place}: is no JSON object ({error.msg}); correct the line") from None
        question = _question(row, place)
        if question.id in ids:
            raise QuestionError(f"{place}: the id {question.id!r} occurs twice; give each question its own")
        ids.add(question.id)
        if row["split"] == split:
            found.append(question)
    return found


@dataclass(frozen=True)
class OptionScores:
    """What a model thinks of the options of N questions.

    Attributes:
        logprobs: (N, 4) float, the log-likelihood of each option in nats, summed over its tokens.
        tokens, bytes: (N, 4) int, the lengths of the options; right: (N,) int, the places of the right ones.
    """

    logprobs: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray
    right: np.ndarray

    def chosen(self, length: str = "none") -> np.ndarray:
        """(N,) the place of the likeliest option; its log-likelihood is divided by its length in the given unit.

        Raises:
            ValueError: an unknown unit.
        Source: "acc" and "acc_norm" (by bytes) of EleutherAI's lm-evaluation-harness.
        """
        if length not in LENGTHS:
            raise ValueError(f"length: {length!r} is not one of {', '.join(LENGTHS)}")
        divisor = {"none": 1, "token": self.tokens, "byte": self.bytes}[length]
        return (self.logprobs / divisor).argmax(1)

    def correct(self, length: str = "none") -> np.ndarray:
        """(N,) 1.0 where the chosen option is the right one, else 0.0."""
        return (self.chosen(length) == self.right).astype(float)

    def probabilities(self) -> np.ndarray:
        """(N, 4) the options' probabilities, as if nothing else could be answered: a softmax over the four."""
        raised = np.exp(self.logprobs - self.logprobs.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)


@torch.inference_mode()
def option_scores(
    model,
    tokenizer,
    questions: Sequence[Question],
    *,
    letters: bool = False,
    shots: Sequence[Question] = (),
    batch_size: int = 24,
    show_progress: bool = True,
) -> OptionScores:
    """The log-likelihood of each option behind its question, by a decoder.

    The shots are read once, each question once, and the options behind the kept keys and values. Shots, question and
    option become tokens apart.

    Args:
        letters: options stand in the prompt, and their letters are scored instead of their texts.
        shots: solved questions in front of each one, in this order.
    Raises:
        GenerationError: no question, or one that does not fit into the model's window.
    Source: Hendrycks et al. 2021 (letters); Brown et al. 2020, section 2.4 (texts).
    """
    if not questions:
        raise GenerationError("questions: there are none; give at least one")
    prefix = "".join(shot.solved(letters) for shot in shots)
    before = encode_prompts(tokenizer, [prefix])[0] if prefix else []
    rows = encode_prompts(tokenizer, [question.prompt(letters) for question in questions])
    texts = [question.continuations(letters) for question in questions]
    options = [tokenizer(each, add_special_tokens=False)["input_ids"] for each in texts]
    for row, each in zip(rows, options):
        check_positions(model.config, [before + row], max(map(len, each)))
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    found = np.zeros((len(rows), len(LETTERS)))
    with (
        progress(total=len(rows), desc="scoring", unit="question", disable=not show_progress) as bar,
        evaluating(model),
    ):
        read = _read(model, before)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = [rows[index] for index in chosen], [ids for index in chosen for ids in options[index]]
            found[chosen] = _batch_logprobs(model, tokenizer, read, len(before), *batch).reshape(-1, len(LETTERS))
            bar.update(len(chosen))
    return OptionScores(
        found,
        np.array([[len(ids) for ids in each] for each in options]),
        np.array([[len(text.encode()) for text in each] for each in texts]),
        np.array([question.right for question in questions]),
    )


def _read(model, ids):
    """Keys and values of a text that all prompts begin with."""
    cache = DynamicCache()
    if ids:
        model(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, logits_to_keep=1)
    return cache


def _batch_logprobs(model, tokenizer, read, length, rows, options):
    """(B · 4,) log-likelihoods of four options for each of B prompts.

    Args:
        read: the cache of `length` tokens before all prompts; rows, options: B and B · 4 lists of token ids.
    """
    cache, several = copy.deepcopy(read), len(options) // len(rows)
    if length:
        cache.batch_repeat_interleave(len(rows))
    input_ids, mask = padded(rows, tokenizer.pad_token_id, model.device, "left")
    mask = torch.cat([mask.new_ones(len(rows), length), mask], 1)
    shared = {"past_key_values": cache, "use_cache": True}
    places = (mask.cumsum(1) - 1).clamp(min=0)[:, length:]  # padding takes none
    first = model(input_ids=input_ids, attention_mask=mask, position_ids=places, logits_to_keep=1, **shared).logits
    cache.batch_repeat_interleave(several)
    ids, kept = padded(options, tokenizer.pad_token_id, model.device, "right")
    mask = torch.cat([mask.repeat_interleave(several, 0), kept], 1)
    places = (mask.cumsum(1) - 1)[:, -ids.shape[1] :]
    rest = model(input_ids=ids, attention_mask=mask, position_ids=places, **shared).logits
    logits = torch.cat([first.repeat_interleave(several, 0), rest[:, :-1]], 1).float()  # (B · 4, T, V)
    logprobs = F.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]
    return (logprobs * kept).sum(1).cpu().numpy()
