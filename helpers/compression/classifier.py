"""Classifiers: a T5 encoder with a linear head over its mean state, trained on hard labels or on a teacher's soft ones
as well.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from helpers.compression.distillation import distillation_loss, keep_layers
from helpers.data.pairs import SimilarLengths
from helpers.models.generation import evaluating
from helpers.progress import progress

LEAST = 20  # training dialogues that a topic needs to be a class


class Classifier(nn.Module):
    """The mean of the encoder's states over the real tokens, and a linear layer on it: one logit a class.

    Args:
        encoder: of a T5; a copy of it is trained. classes: how many.
        seed: of the linear layer's first weights.
    """

    def __init__(self, encoder, classes: int, seed: int = 0):
        super().__init__()
        self.encoder = copy.deepcopy(encoder).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(encoder.config.d_model, classes)
        self.head.to(encoder.device)

    def forward(self, input_ids, attention_mask):
        """(B, classes) logits of (B, S) tokens, padding where the mask is 0."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, S, d)
        real = attention_mask.unsqueeze(-1).to(states.dtype)
        return self.head((states * real).sum(1) / real.sum(1))


def smaller_classifier(teacher: Classifier, layers: int) -> Classifier:
    """A student: a copy with so many of the encoder's layers (`helpers.compression.distillation.kept_layers`) and the
    teacher's head.
    """
    student = copy.deepcopy(teacher)
    keep_layers(student.encoder, layers)
    return student


@dataclass(frozen=True)
class Classes:
    """What is to be told apart: names of the classes, and which of them a dialogue is in.

    Attributes:
        names: topics; or "short" and "long" summary, where the data has no topics.
        words: None with topics; else the number of words from which a summary is long.
    """

    names: tuple[str, ...]
    words: int | None = None

    def number(self, row) -> int | None:
        """The class of a dialogue as an index of `names`; None where its topic is too rare to be one."""
        if self.words is not None:
            return int(len(row["summary"].split()) >= self.words)
        return self.names.index(row["topic"]) if row["topic"] in self.names else None


def classes_of(rows: Sequence) -> Classes:
    """The topics that at least `LEAST` rows have, in alphabetical order; where there are not two of them, short and
    long summaries, halves of the rows.
    """
    counts = Counter(row["topic"] for row in rows if row.get("topic"))
    found = sorted(topic for topic, count in counts.items() if count >= LEAST)
    if len(found) >= 2:
        return Classes(tuple(found))
    lengths = sorted(len(row["summary"].split()) for row in rows)
    return Classes(("short", "long"), lengths[len(lengths) // 2])


def labelled(rows: Sequence, classes: Classes, tokenizer, max_tokens: int) -> tuple[list[list[int]], list[int]]:
    """(token ids, numbers of the classes) of the dialogues that have a class; a dialogue that is too long counts with
    its beginning.
    """
    found = [(row["dialogue"], classes.number(row)) for row in rows if classes.number(row) is not None]
    ids = tokenizer([text for text, _ in found], truncation=True, max_length=max_tokens)["input_ids"]
    return ids, [number for _, number in found]


def _batch(rows, device):
    tensors = [torch.tensor(row) for row in rows]
    return {
        "input_ids": pad_sequence(tensors, batch_first=True).to(device),
        "attention_mask": pad_sequence([torch.ones_like(tensor) for tensor in tensors], batch_first=True).to(device),
    }


def train_classifier(
    model: Classifier,
    texts: Sequence[list[int]],
    labels: Sequence[int],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    batch_size: int = 16,
    teacher: Classifier | None = None,
    alpha: float = 0.5,
    temperature: float = 2.0,
    show_progress: bool = True,
    name: str = "classifier",
) -> Classifier:
    """A trained copy of the model, in evaluation mode; AdamW, a rate that falls linearly to 0, batches of similar
    length.

    Args:
        texts, labels: N lists of token ids, and the number of each one's class.
        teacher: without one the loss is cross-entropy, with one `helpers.compression.distillation.distillation_loss`
            with alpha and temperature.
    """
    model, device = copy.deepcopy(model).train(), next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    sampler, order = SimilarLengths([len(text) for text in texts], batch_size, seed), []
    for step in progress(range(steps), desc=name, unit="step", disable=not show_progress):
        if len(order) < batch_size:
            sampler.set_epoch(step)
            order = [*order, *sampler]
        chosen, order = order[:batch_size], order[batch_size:]
        batch = _batch([texts[row] for row in chosen], device)
        hard = torch.tensor([labels[row] for row in chosen], device=device)
        logits = model(**batch)
        if teacher is None:
            loss = cross_entropy(logits, hard)
        else:
            with torch.no_grad(), evaluating(teacher):
                soft = teacher(**batch)
            loss = distillation_loss(logits, soft, hard, alpha, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def class_logits(model: Classifier, texts: Sequence[list[int]], batch_size: int = 50) -> torch.Tensor:
    """(N, classes) float32 on the CPU."""
    found, order = [None] * len(texts), sorted(range(len(texts)), key=lambda row: len(texts[row]))
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, logits in zip(
                rows, model(**_batch([texts[row] for row in rows], next(model.parameters()).device)).float().cpu()
            ):
                found[row] = logits
    return torch.stack(found)
