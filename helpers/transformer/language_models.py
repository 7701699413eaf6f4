"""Language models: small decoders on bytes, their training from nothing, and what they lose on held-out dialogues."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.progress import progress
from helpers.transformer.streams import batches, windows

BYTES, WINDOW, ROWS, HEAD = 256, 256, 4, 16      # vocabulary; bytes a row; rows a step: many small steps teach more than few large ones; width of a head
RATE = 0.32         # by the width: the best rate falls as a model gets wider. Tried at widths 16 to 128; Yang et al. 2022 say why
SPREAD = 0.5        # of the first weights, over the root of the width; with transformers' 0.02 at every width, narrow models took hundreds of steps to begin
WARMUP, FLOOR = 0.05, 0.1       # share of the steps in which the rate rises; what is left of it at the end


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
            raise ValueError(f"shape: width {self.width}, {self.layers} layers; the width must be a multiple of {HEAD}, and there must be a layer")

    def config(self) -> LlamaConfig:
        """A decoder of Llama's kind (RoPE, RMSNorm, SwiGLU), input and output embeddings tied."""
        heads = self.width // HEAD
        return LlamaConfig(vocab_size=BYTES, hidden_size=self.width, intermediate_size=-(-8 * self.width // 3 // 8) * 8, num_hidden_layers=self.layers,
                           num_attention_heads=heads, num_key_value_heads=heads, tie_word_embeddings=True, max_position_embeddings=WINDOW, initializer_range=SPREAD * self.width**-0.5,
                           bos_token_id=None, eos_token_id=None, pad_token_id=None)

    @property
    def parameters(self) -> int:
        """All of them; the embeddings count, once: they are the output head too, and cost as much as any other matrix."""
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

    Each budget has a fall of its own: a run cut short before its rate has fallen says little about its budget (Hoffmann et al. 2022, section 3.1).
    """
    rise = max(5, round(WARMUP * steps))
    return min(1.0, (step + 1) / rise) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


@contextmanager
def one_thread():
    """One thread inside, as many as before afterwards: for matrices this small, threads cost more than they give, and one repeats bit for bit anywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train_decoder(shape: Shape, texts: Iterable[str], budget: int, seed: int, name: str = "decoder") -> LlamaForCausalLM:
    """Trains a new decoder on the first `budget` bytes of the texts, each of them once.

    Args:
        budget: bytes to train on, at least one step's; seed: of the first weights.
    Raises:
        ValueError: a budget smaller than one step, or texts that end before it.
    """
    steps = budget // (ROWS * WINDOW)
    if steps < 1:
        raise ValueError(f"budget: {budget:,} bytes are less than one step of {ROWS * WINDOW:,}; give at least that many")
    model = new_decoder(shape, seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE / shape.width, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    source = batches(texts, ROWS, WINDOW)
    for step in progress(range(steps), desc=name, unit="step"):
        rows = next(source, None)
        if rows is None:
            raise ValueError(f"texts: end after {step * ROWS * WINDOW:,} of {budget:,} bytes; give more of them")
        losses_of(model, rows).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def losses_of(model, rows: torch.Tensor) -> torch.Tensor:
    """(R, L − 1) nats of each byte but the first, 0 where a row holds −1.

    Args:
        rows: (R, L) of bytes, −1 behind the end.
    """
    logits = model(input_ids=rows.clamp(min=0), use_cache=False).logits[:, :-1]
    return cross_entropy(logits.transpose(1, 2), rows[:, 1:], ignore_index=-1, reduction="none")


@torch.inference_mode()
def byte_losses(model, texts: Sequence[str], batch: int = 64) -> np.ndarray:
    """(N,) nats a byte of each text: how badly the model guesses the next byte, the mean over the text."""
    rows = [windows(text, WINDOW) for text in texts]
    owners, all_rows = np.repeat(np.arange(len(texts)), [len(found) for found in rows]), torch.cat(rows)
    losses = torch.cat([losses_of(model, part).sum(1) for part in all_rows.split(batch)]).double().numpy()
    counts = (all_rows[:, 1:] >= 0).sum(1).numpy()
    return np.bincount(owners, losses) / np.bincount(owners, counts)
