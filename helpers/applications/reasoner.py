"""A small decoder that learns to solve word problems: its tokenizer, the texts that it learns from, and supervised
training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers.applications.word_problems import Problem, make_problem
from helpers.progress import Sparing, progress
from helpers.transformer.gpt import optimizers
from helpers.transformer.language_models import rate_at

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
PRICES = range(2, 13)  # of the problems: with them a small model learns its tables in a minute
WIDTH, LAYERS, HEADS, WINDOW = 128, 3, 4, 128
DECAY = 0.01  # of the weights; a training of a minute needs little
IGNORED = -100  # a label that no loss counts


def question(problem: Problem) -> str:
    """A problem as the reasoner reads it; it does not say whether steps are wanted."""
    return f"{problem.text}\nSolution:"


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the words and signs of the texts and of arithmetic, and writes numbers digit by digit.

    A digit behind another one is a token of its own ("12" is "1", "##2"), so that a decoded number has no gaps. A minus
    sign stands apart: the problems have no negative numbers.
    """
    split = pre_tokenizers.Whitespace()
    found = {word for text in texts for word, _ in split.pre_tokenize_str(text) if not word.isdigit()}
    digits = [str(digit) for digit in range(10)]
    names = [PAD, END, UNKNOWN, *digits, *(f"##{digit}" for digit in digits), *sorted(found | set("+-*=,"))]
    core = Tokenizer(models.WordPiece({name: index for index, name in enumerate(names)}, unk_token=UNKNOWN))
    core.pre_tokenizer, core.decoder = split, decoders.WordPiece(cleanup=False)
    special = {"pad_token": PAD, "eos_token": END, "unk_token": UNKNOWN}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=WINDOW, padding_side="left", **special)


def new_reasoner(tokenizer, seed: int) -> LlamaForCausalLM:
    """An untrained decoder of Llama's kind for this tokenizer; torch's own generator stays where it was."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def arithmetic_texts(count: int, seed: int, steps: int = 5) -> list[tuple[str, str]]:
    """`count` texts as ("", "3 * 4 = 12, 9 + 7 = 16, …") of arithmetic that the problems need, in no order."""
    rng = random.Random(f"arithmetic|{seed}")

    def one():
        return "{} = {}".format(*rng.choice(make_problem(rng, PRICES).steps))

    return [("", ", ".join(one() for _ in range(steps))) for _ in range(count)]


def worked_examples(problems: Sequence[Problem], seed: int, with_steps: float = 0.5) -> list[tuple[str, str]]:
    """(prompt, solution) of each problem; a share of the solutions show their steps, the others the answer alone."""
    rng = random.Random(f"writers|{seed}")
    ways = ["steps" if rng.random() < with_steps else "answer" for _ in problems]
    return [(question(problem), problem.completion(way)) for problem, way in zip(problems, ways)]


def encoded(pairs: Sequence[tuple[str, str]], tokenizer) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of each (prompt, completion): the prompt's labels are ignored, and an end token is added."""
    rows = []
    for prompt, completion in pairs:
        asked = tokenizer(prompt)["input_ids"] if prompt else []
        wanted = [*tokenizer(f" {completion}" if prompt else completion)["input_ids"], tokenizer.eos_token_id]
        rows.append(([*asked, *wanted], [IGNORED] * len(asked) + wanted))
    return rows


def teach(
    model,
    tokenizer,
    pairs: Sequence[tuple[str, str]],
    steps: int,
    rate: float,
    seed: int,
    batch_size: int = 32,
    name: str = "reasoner",
    listener: Callable | None = None,
) -> list[tuple[int, float]]:
    """Supervised training of a decoder, in place, on batches drawn from the pairs.

    Args:
        pairs: (prompt, completion); only the completion's tokens count, and an end token behind them. Where the prompt
            is "", nothing says what the first token should be, so it does not count.
        steps: at least 1, each on `batch_size` pairs.
        rate: the highest, of Muon for the matrices and AdamW for the rest; seed: of the batches.
        listener: called with the losses so far and an empty list, as `helpers.visualization.live_losses` takes them.
    Returns:
        (step, loss in nats a token) of each step.
    Raises:
        ValueError: no pairs, a pair without any text, one that is longer than the model's window, no step, no batch.
    """
    if not pairs or any(not completion for _, completion in pairs):
        raise ValueError("pairs: there are none, or one has no completion; give texts to learn from")
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps: {steps}, batch_size: {batch_size}; both are at least 1")
    rows, rng, device = encoded(pairs, tokenizer), random.Random(f"batches|{seed}"), model.device
    longest = max(len(ids) for ids, _ in rows)
    if longest > model.config.max_position_embeddings:
        raise ValueError(
            f"pairs: one has {longest} tokens, the model's window {model.config.max_position_embeddings}; shorten it"
        )
    parts = optimizers(model, rate, DECAY)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate_at(step, steps)) for each in parts]
    losses, told = [], Sparing(listener)
    model.train()
    for step in progress(range(steps), desc=name, unit="step"):
        drawn = [rows[rng.randrange(len(rows))] for _ in range(batch_size)]
        longest = max(len(ids) for ids, _ in drawn)
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row, _ in drawn], device=device)
        labels = torch.tensor([row + [IGNORED] * (longest - len(row)) for _, row in drawn], device=device)[:, 1:]
        counted = labels != IGNORED
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        loss = cross_entropy(model.lm_head(hidden[counted]).float(), labels[counted])  # padding stands behind
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*parts, *schedules):
            part.step()
        model.zero_grad()
        losses.append((step + 1, loss.item()))
        told(losses, [])
    told.finish()
    model.eval()
    return losses
