"""Three families of transformers made of the same blocks: what each may see, what it learns to predict, and the tasks
that tell them apart: filling a gap, continuing, and what a linear probe reads from the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import T5Config, T5ForConditionalGeneration

from helpers.data.pairs import IGNORED
from helpers.progress import progress
from helpers.transformer.objectives import FAMILIES, Example, batched, corrupted, example_of, excerpt, masked, shifted
from helpers.transformer.positions import bucket, first_attention

BEHIND, AHEAD = bucket(-1), bucket(1)
QUERY_RATE, EMBEDDING_RATE = (
    0.15,
    3.0,
)  # times the learning rate: T5's attention is unscaled, so that queries learn gently


@dataclass(frozen=True)
class Shape:
    """Sizes of a small model; an encoder-decoder has half of the blocks on each side and narrower feed-forward layers,
    so that all families are equally large.
    """

    width: int = 128
    heads: int = 4
    blocks: int = 4
    hidden: int = 512

    def config(self, family: str, vocab_size: int) -> T5Config:
        """The T5 configuration whose blocks the family is built of."""
        blocks, hidden = self.blocks, self.hidden
        if (
            family == "encoder-decoder"
        ):  # cross-attention costs 4·width² in half of the blocks, as much as width hidden units in all of them
            blocks, hidden = self.blocks // 2, self.hidden - self.width
        return T5Config(
            vocab_size=vocab_size,
            d_model=self.width,
            d_kv=self.width // self.heads,
            num_heads=self.heads,
            d_ff=hidden,
            num_layers=blocks,
            num_decoder_layers=blocks,
            feed_forward_proj="relu",
            dropout_rate=0.0,
            pad_token_id=0,
            decoder_start_token_id=0,
        )


class FamilyModel(nn.Module):
    """One of `FAMILIES`, untrained: T5's blocks with embeddings that are the output head as well.

    Args:
        family: which; vocab_size: tokens; shape: sizes; seed: of the first weights.
    Raises:
        ValueError: there is no such family.
    """

    def __init__(self, family: str, vocab_size: int, shape: Shape | None = None, seed: int = 0):
        super().__init__()
        if family not in FAMILIES:
            raise ValueError(f"family: {family!r} is not one of {', '.join(FAMILIES)}")
        self.family, self.shape = family, shape or Shape()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            whole = T5ForConditionalGeneration._from_config(
                self.shape.config(family, vocab_size), attn_implementation="sdpa"
            )
        self.shared = whole.shared
        with torch.no_grad():
            self.shared.weight.mul_(0.5)
        self.encoder = None if family == "decoder-only" else whole.encoder
        self.decoder = None if family == "encoder-only" else whole.decoder
        if family == "decoder-only":
            for block in self.decoder.block:  # there is no encoder to look at
                del block.layer[1]
        for stack, near in ((self.encoder, (BEHIND, AHEAD)), (self.decoder, (BEHIND, BEHIND + 1))):
            if stack is not None:
                _look_near(stack, near)

    def states(self, input_ids, attention_mask):
        """(B, S, width) of the stack that reads the text: the decoder where there is nothing else."""
        return (self.encoder or self.decoder)(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state

    def forward(self, input_ids, attention_mask, decoder_input_ids=None):
        """(B, T, width) the states that predict: of the decoder's inputs in an encoder-decoder, of the text in the
        others.
        """
        states = self.states(input_ids, attention_mask)
        if self.family != "encoder-decoder":
            return states
        return self.decoder(
            input_ids=decoder_input_ids,
            encoder_hidden_states=states,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state

    def logits(self, states):
        """(…, V) of states; scaled as T5 scales where head and embeddings are one."""
        return states * self.shape.width**-0.5 @ self.shared.weight.T


@torch.no_grad()
def _look_near(stack, places):
    """Lets the first two heads of all blocks begin with a look at a neighbour, so that a short training need not find
    that first. It is a choice of this kit; what it saves was not measured.
    """
    for head, place in enumerate(places):
        first_attention(stack).relative_attention_bias.weight[place, head] += 4.0


def label_losses(model: FamilyModel, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Of each example the loss of each of its labels in nats, those that the loss looks away from left out."""
    inputs, labels = batched(examples, model.shared.weight.device)
    counts = (labels != IGNORED).sum(1).tolist()
    states = model(**inputs)[labels != IGNORED]
    return list(cross_entropy(model.logits(states), labels[labels != IGNORED], reduction="none").split(counts))


def parameter_groups(model: nn.Module, rate: float) -> list[dict]:
    """AdamW's groups: queries gently, embeddings and position biases faster, the rest at `rate`."""
    groups = {QUERY_RATE: [], EMBEDDING_RATE: [], 1.0: []}
    for name, weight in model.named_parameters():
        groups[
            QUERY_RATE
            if name.endswith(".q.weight")
            else EMBEDDING_RATE
            if "shared" in name or "relative" in name
            else 1.0
        ].append(weight)
    return [{"params": weights, "lr": rate * scale, "initial": rate * scale} for scale, weights in groups.items()]


def pretrain(
    model: FamilyModel,
    texts: Sequence[Sequence[int]],
    sentinels: Sequence[int],
    *,
    steps: int,
    length: int,
    seed: int,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    show_progress: bool = True,
) -> list[float]:
    """Trains the model on its family's task; every family reads the same excerpts in the same order.

    Args:
        texts: lists of token ids; each step takes `batch_size` excerpts of at most `length` tokens.
    Returns:
        The loss of each step, in nats a label.
    """
    excerpts, hidden, losses = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]), []
    optimizer = torch.optim.AdamW(parameter_groups(model, learning_rate), betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    for step in progress(range(steps), desc=model.family, unit="step", disable=not show_progress):
        warm, left = min(1.0, (step + 1) / max(1, steps // 20)), 1 - step / steps
        for group in optimizer.param_groups:
            group["lr"] = group["initial"] * min(warm, max(0.02, left))
        chosen = [excerpt(texts[number], length, excerpts) for number in excerpts.integers(0, len(texts), batch_size)]
        loss = torch.cat(
            label_losses(model, [example_of(model.family, ids, hidden, sentinels) for ids in chosen])
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def sight(model: FamilyModel, ids: Sequence[int], other: int) -> np.ndarray:
    """(T, S) whether the state at a place changes when the token at another one does: what each place sees, measured.

    Columns are the places of the text; of an encoder-decoder, which is given the text on both sides, the encoder's and
    then the decoder's.

    Args:
        other: a token that is put in the place of each in turn; none of `ids` should be it.
    """
    two = model.family == "encoder-decoder"

    def states(place=None):
        both = list(ids) * (1 + two)
        if place is not None:
            both[place] = other
        inputs = {
            "input_ids": torch.tensor([both[: len(ids)]]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        }
        return model(**inputs, **({"decoder_input_ids": torch.tensor([both[len(ids) :]])} if two else {}))[0]

    before = states()
    return np.stack(
        [((states(place) - before).abs().amax(-1) > 1e-6).numpy() for place in range(len(ids) * (1 + two))], axis=1
    )


def _only(example: Example, kept: range) -> Example:
    """The example with the labels at these places alone."""
    return replace(example, labels=[label if place in kept else IGNORED for place, label in enumerate(example.labels)])


def gap_examples(family: str, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int]) -> list[Example]:
    """Examples whose labels, one after the other, are the `length` tokens from `start` on, each as the family would
    find it from left to right.

    An encoder reads the text once for each token, with masks for what is still to be found: it must be told how long
    the gap is. A decoder sees what stands before the gap and never what comes after it; an encoder-decoder reads both
    sides, with one sentinel for the gap.
    """
    end = start + length
    if family == "encoder-only":
        return [
            _only(masked(ids, range(place, end), sentinels[0]), range(place, place + 1)) for place in range(start, end)
        ]
    if family == "decoder-only":
        return [_only(shifted(ids[:end]), range(start, end))]
    return [_only(corrupted(ids, [(start, length)], sentinels), range(1, 1 + length))]


def continuation_examples(
    family: str, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int]
) -> list[Example]:
    """The same for the tokens that follow a text whose end nobody has seen: an encoder gets one mask behind what is
    known so far.
    """
    if family == "encoder-only":
        return [
            example
            for place in range(start, start + length)
            for example in gap_examples(family, ids[: place + 1], place, 1, sentinels)
        ]
    return gap_examples(family, ids[: start + length], start, length, sentinels)


@torch.no_grad()
def mean_losses(model: FamilyModel, tasks: Sequence[Sequence[Example]], batch_size: int = 64) -> np.ndarray:
    """(N,) of each task the mean loss of its tokens, in nats; a task is a list of examples as the functions above give
    them.
    """
    flat = [(number, example) for number, examples in enumerate(tasks) for example in examples]
    sums, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    for start in range(0, len(flat), batch_size):
        chunk = flat[start : start + batch_size]
        for (number, _), losses in zip(chunk, label_losses(model, [example for _, example in chunk])):
            sums[number] += losses.sum().item()
            counts[number] += len(losses)
    return sums / counts


@torch.no_grad()
def greedy(
    model: FamilyModel, ids: Sequence[int], start: int, length: int, sentinels: Sequence[int], examples_of=gap_examples
) -> list[int]:
    """The likeliest `length` tokens from `start` on, one after the other, each with those before it filled in; what
    stood there is not looked at.
    """
    found = list(ids)
    found[start : start + length] = [sentinels[0]] * length
    for step in range(length):
        examples = examples_of(model.family, found, start, length, sentinels)
        example, label = (examples[step], 0) if len(examples) > 1 else (examples[0], step)
        inputs, labels = batched([example], model.shared.weight.device)
        logits = model.logits(model(**inputs)[labels != IGNORED][label])
        logits[list(sentinels)] = -torch.inf
        found[start + step] = int(logits.argmax())
    return found[start : start + length]


@torch.no_grad()
def states_of(model: FamilyModel, texts: Sequence[Sequence[int]], batch_size: int = 64) -> list[np.ndarray]:
    """Of each text its states, (S, width), from the stack that reads."""
    found = []
    for start in range(0, len(texts), batch_size):
        chosen = texts[start : start + batch_size]
        inputs, _ = batched([Example(list(ids), [IGNORED]) for ids in chosen], model.shared.weight.device)
        found += [states[: len(ids)].cpu().numpy() for states, ids in zip(model.states(**inputs), chosen)]
    return found


def probe(known: np.ndarray, labels: Sequence, asked: np.ndarray, truth: Sequence) -> np.ndarray:
    """(M,) whether a linear classifier, fitted to the known states and their labels, is right on the asked ones.

    Args:
        known: (N, d); asked: (M, d).
    Source: probes as in Alain and Bengio 2016; logistic regression of scikit-learn.
    """
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return classifier.fit(known, labels).predict(asked) == np.asarray(truth)


def turn_questions(ids: Sequence[int], tags: Sequence[int], question_mark: Sequence[int]) -> list[tuple[int, bool]]:
    """(place of a turn's first token, whether the turn asks something) of every turn that begins and ends within the
    text.

    Args:
        tags: ids that begin a turn; question_mark: ids of pieces with a question mark.
    """
    places = [place for place, token in enumerate(ids) if token in tags]
    return [(start, any(token in question_mark for token in ids[start:end])) for start, end in pairwise(places)]
