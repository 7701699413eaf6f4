"""Language models: small decoders on bytes, trained from nothing on dialogues drawn without end from the kit's
scenarios.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from helpers.progress import progress
from pocket.scenarios.generator import RUDE_SHARE, Play, World
from pocket.scenarios.screenplay import FOLDER, UNSEEN, WORLD_FILES, load_scenarios, parse, read_pools

DOMAINS = tuple(sorted(path.stem for path in FOLDER.glob("*.txt") if path.name not in WORLD_FILES))
BREAK = "\n\n"  # stands before each dialogue: what a model reads first, and what says that one has ended
BYTES, WINDOW, ROWS, HEAD = (
    256,
    256,
    4,
    16,
)  # vocabulary; bytes a row; rows a step: many small steps teach more than few large ones; width of a head
RATE = (
    0.32  # by the width: the best rate falls as a model gets wider. Tried at widths 16 to 128; Yang et al. 2022 say why
)
# Of the first weights, over the root of the width; with transformers' 0.02 at every width, narrow models took hundreds
# of steps to begin.
SPREAD = 0.5
WARMUP, FLOOR = 0.05, 0.1  # share of the steps in which the rate rises; what is left of it at the end


class Dialogues:
    """Dialogues of one domain, or of all of them; no two draws of equal arguments differ, and different seeds give
    different dialogues.

    Attributes:
        scenarios: those that dialogues are drawn from, all with the same probability; the kit's unseen ones are left
            out.
    Raises:
        ValueError: there is no such domain.
    """

    def __init__(self, domain: str | None = None, without: str | None = None):
        for name, value in (("domain", domain), ("without", without)):
            if value is not None and value not in DOMAINS:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(DOMAINS)}")
        everything, pools = load_scenarios(), read_pools()
        names = {stem: {scenario.name for scenario in parse(FOLDER / f"{stem}.txt", pools)} for stem in DOMAINS}
        self.world = World(everything)
        self.scenarios = [
            scenario
            for scenario in everything
            if scenario.name not in UNSEEN
            and (domain is None or scenario.name in names[domain])
            and (without is None or scenario.name not in names[without])
        ]

    def plays(self, seed) -> Iterator[Play]:
        """Plays without end, with the data set's share of rude ones and none of its held-out values."""
        rng, number = random.Random(f"stream|{seed}"), 0
        while True:
            yield self.world.play(rng.choice(self.scenarios), seed=(seed, number), rude=rng.random() < RUDE_SHARE)
            number += 1

    def draw(self, seed) -> Iterator[str]:
        """Dialogues without end, speakers A and B: the tag "#Person1#" is nine bytes that are guessed as soon as they
        begin.
        """
        for play in self.plays(seed):
            yield BREAK + play.dialogue().replace("#Person1#", "A").replace("#Person2#", "B")

    def some(self, count: int, seed) -> list[str]:
        """The first `count` of them."""
        return [text for _, text in zip(range(count), self.draw(seed))]


def byte_ids(text: str) -> torch.Tensor:
    """(B,) the bytes of a text in UTF-8, each from 0 to 255: a vocabulary that needs no tokenizer."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()


def batches(texts: Iterable[str], rows: int, length: int) -> Iterator[torch.Tensor]:
    """(rows, length) of bytes, cut from the texts one after the other; none is seen twice, and nothing is padding."""
    waiting = bytearray()
    for text in texts:
        waiting += text.encode()
        while len(waiting) >= rows * length:
            yield torch.frombuffer(waiting[: rows * length], dtype=torch.uint8).long().view(rows, length)
            waiting = waiting[rows * length :]


def windows(text: str, length: int) -> torch.Tensor:
    """(R, length) of a text's bytes in as few rows as hold them, −1 behind the last one."""
    found = byte_ids(text)
    rows = -(-len(found) // length)
    return torch.nn.functional.pad(found, (0, rows * length - len(found)), value=-1).view(rows, length)


@dataclass(frozen=True)
class Shape:
    """How wide and how deep a decoder is; everything else follows.

    Raises:
        ValueError: a width that is no multiple of 16, or no layer.
    """

    width: int
    layers: int

    def __post_init__(self):
        if self.width < HEAD or self.width % HEAD or self.layers < 1:
            raise ValueError(
                f"shape: width {self.width}, {self.layers} layers; the width must be a multiple of {HEAD}, and "
                "there must be a layer"
            )

    @property
    def heads(self) -> int:
        """How many attention heads a layer has."""
        return self.width // HEAD

    @property
    def hidden(self) -> int:
        """Units of the MLP: 8/3 of the width, so that its three matrices cost what two of four widths would."""
        return -(-8 * self.width // 3 // 8) * 8

    def config(self) -> LlamaConfig:
        """A decoder of Llama's kind (RoPE, RMSNorm, SwiGLU), input and output embeddings tied."""
        return LlamaConfig(
            vocab_size=BYTES,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            tie_word_embeddings=True,
            max_position_embeddings=WINDOW,
            initializer_range=SPREAD * self.width**-0.5,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )

    @property
    def parameters(self) -> int:
        """All of them; the embeddings count, once: they are the output head too, and cost as much as any other
        matrix.
        """
        with torch.device("meta"):
            return sum(weight.numel() for weight in LlamaForCausalLM(self.config()).parameters())

    @property
    def embeddings(self) -> int:
        """Those of them that are embeddings."""
        return BYTES * self.width


def new_decoder(shape: Shape, seed: int) -> LlamaForCausalLM:
    """A decoder with weights drawn by this seed; torch's own generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape.config())


def rate_at(step: int, steps: int) -> float:
    """Share of the highest rate: a rise over the first steps, then half a cosine that ends with the last step.

    Each budget has a fall of its own: a run cut short before its rate has fallen says little about its budget (Hoffmann
    et al. 2022, section 3.1).
    """
    rise = max(5, round(WARMUP * steps))
    return min(1.0, (step + 1) / rise) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


@contextmanager
def one_thread():
    """One thread inside, as many as before afterwards: for matrices this small, threads cost more than they give, and
    one repeats bit for bit anywhere.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_decoder(
    shape: Shape, texts: Iterable[str], budget: int, seed: int, name: str = "decoder"
) -> LlamaForCausalLM:
    """Trains a new decoder on the first `budget` bytes of the texts, each of them once.

    Args:
        budget: bytes to train on, at least one step's; seed: of the first weights.
    Raises:
        ValueError: a budget smaller than one step, or texts that end before it.
    """
    model = new_decoder(shape, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), RATE / shape.width, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    fit(model, texts, budget, [optimizer], name=name)
    return model


@one_thread()
def fit(
    model,
    texts: Iterable[str],
    budget: int,
    optimizers: Sequence[torch.optim.Optimizer],
    penalty: Callable | None = None,
    name: str = "decoder",
) -> list[float]:
    """Trains a decoder of transformers, or one that gives logits alone, on the first `budget` bytes of the texts.

    Args:
        optimizers: of all weights, with their highest rates; the rates rise and fall as `rate_at` says.
        penalty: what is added to the loss of each step, a number of nats, called without arguments.
    Returns:
        The loss of each step in nats a byte, without the penalty.
    Raises:
        ValueError: a budget smaller than one step, or texts that end before it.
    """
    steps, losses = budget // (ROWS * WINDOW), []
    if steps < 1:
        raise ValueError(
            f"budget: {budget:,} bytes are less than one step of {ROWS * WINDOW:,}; give at least that many"
        )
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate_at(step, steps)) for each in optimizers]
    source = batches(texts, ROWS, WINDOW)
    model.train()
    for step in progress(range(steps), desc=name, unit="step"):
        rows = next(source, None)
        if rows is None:
            raise ValueError(f"texts: end after {step * ROWS * WINDOW:,} of {budget:,} bytes; give more of them")
        loss = losses_of(model, rows).mean()
        (loss if penalty is None else loss + penalty()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def losses_of(model, rows: torch.Tensor) -> torch.Tensor:
    """(R, L − 1) nats of each byte but the first, 0 where a row holds −1.

    Args:
        rows: (R, L) of bytes, −1 behind the end.
    """
    ids = rows.clamp(min=0)
    logits = model(ids, use_cache=False).logits if isinstance(model, PreTrainedModel) else model(ids)
    return cross_entropy(logits[:, :-1].transpose(1, 2), rows[:, 1:], ignore_index=-1, reduction="none")


@torch.inference_mode()
def byte_losses(model, texts: Sequence[str], batch: int = 64) -> np.ndarray:
    """(N,) nats a byte of each text: how badly the model guesses the next byte, the mean over the text."""
    rows = [windows(text, WINDOW) for text in texts]
    owners, all_rows = np.repeat(np.arange(len(texts)), [len(found) for found in rows]), torch.cat(rows)
    losses = torch.cat([losses_of(model, part).sum(1) for part in all_rows.split(batch)]).double().numpy()
    counts = (all_rows[:, 1:] >= 0).sum(1).numpy()
    return np.bincount(owners, losses) / np.bincount(owners, counts)


@torch.inference_mode()
def sampled_text(model, seed: int) -> str:
    """A window of text that the model draws byte by byte from its own probabilities, after the break that begins a
    dialogue; bytes that are no UTF-8 become "\ufffd".
    """
    start = byte_ids(BREAK)[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = model.generate(start, max_new_tokens=WINDOW - start.shape[1], do_sample=True, top_k=0)
    return bytes(drawn[0, start.shape[1] :].tolist()).decode(errors="replace")
