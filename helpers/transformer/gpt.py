"""A decoder of Llama's kind in plain torch: RMSNorm, rotary positions, causal attention with a key-value cache, a gated
MLP, and one matrix for input and output. The lab "A GPT from scratch" builds it; this is the same, for what follows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import LlamaForCausalLM

from helpers.transformer.attention import split_heads
from helpers.transformer.language_models import BREAK, BYTES, HEAD, SPREAD, WINDOW, Shape, byte_ids
from helpers.transformer.muon import Muon

BASE, EPSILON = 10000.0, 1e-6  # of the angles; of the norms: transformers' LlamaConfig has the same
RATE, DECAY = 0.02, 0.1  # the highest rate, chosen on validation dialogues (sweeps/gpt.py); decay of the weights


def rotations(positions: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, (T, width) each, of the angles by which the pairs of a head's numbers turn at each position.

    Args:
        positions: (T,) integers; width: of a head, even.
    Source: Su et al. 2021, section 3.2.2; pairs are (i, i + width/2), as in transformers.
    """
    rates = BASE ** (-torch.arange(0, width, 2) / width)
    angles = (positions[:, None] * rates).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotated(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """(B, H, T, D) queries or keys, each pair of numbers turned by its angle."""
    first, second = states.chunk(2, -1)
    return states * cosines + torch.cat([-second, first], -1) * sines


class Attention(nn.Module):
    """Causal self-attention with heads; with a cache, only the new tokens are computed."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, states, turns, past=None):
        """What attention adds, (B, T, d), and the keys and values of all tokens so far, (B, H, S, D) each.

        Args:
            states: (B, T, d) of the new tokens; turns: their `rotations`; past: keys and values of those before them.
        """
        query, key, value = (split_heads(linear(states), self.heads) for linear in (self.query, self.key, self.value))
        query, key, mask = rotated(query, *turns), rotated(key, *turns), None
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
            new, total = query.shape[2], key.shape[2]
            mask = torch.ones(new, total, dtype=torch.bool, device=key.device).tril(total - new)
        read = scaled_dot_product_attention(query, key, value, mask, is_causal=past is None)
        return self.out(read.transpose(1, 2).flatten(2)), (key, value)


class GatedMLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x)). Source: Shazeer 2020, eq. 6."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, states):
        """(B, T, d) to (B, T, d)."""
        return self.down(silu(self.gate(states)) * self.up(states))


class Block(nn.Module):
    """Twice: normalise, compute, add."""

    def __init__(self, shape: Shape, mlp: nn.Module):
        super().__init__()
        self.norm_1, self.norm_2 = (nn.RMSNorm(shape.width, eps=EPSILON) for _ in range(2))
        self.attention, self.mlp = Attention(shape.width, shape.heads), mlp

    def forward(self, states, turns, past=None):
        """The states (B, T, d) after the block, and the keys and values of its attention."""
        added, kept = self.attention(self.norm_1(states), turns, past)
        states = states + added
        return states + self.mlp(self.norm_2(states)), kept


class Decoder(nn.Module):
    """A decoder on bytes with new weights.

    Args:
        shape: how wide and deep; mlp: makes what stands in each block after the attention, given the shape; a
            `GatedMLP` unless given.
        seed: of the weights; torch's own generator stays where it was.
    """

    def __init__(self, shape: Shape, mlp: Callable[[Shape], nn.Module] | None = None, seed: int = 0):
        super().__init__()
        self.shape, mlp = shape, mlp or (lambda shape: GatedMLP(shape.width, shape.hidden))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(BYTES, shape.width)
            self.blocks = nn.ModuleList(Block(shape, mlp(shape)) for _ in range(shape.layers))
            self.norm = nn.RMSNorm(shape.width, eps=EPSILON)
            for weight in self.parameters():
                if weight.ndim > 1:
                    nn.init.normal_(weight, std=SPREAD * shape.width**-0.5)

    def forward(self, ids, cache: list | None = None):
        """(B, T, 256) logits of the byte after each of the ids (B, T).

        Args:
            cache: an empty list, or what an earlier call has left in it: keys and values of each block. They are read,
                and those of the new ids are added.
        """
        start = cache[0][0].shape[2] if cache else 0
        turns = rotations(torch.arange(start, start + ids.shape[1], device=ids.device), HEAD)
        states, kept = self.embedding(ids), []
        for number, block in enumerate(self.blocks):
            states, pair = block(states, turns, cache[number] if cache else None)
            kept.append(pair)
        if cache is not None:
            cache[:] = kept
        return self.norm(states) @ self.embedding.weight.T


# A weight of the decoder -> what transformers' Llama calls it: parts of the names, replaced one after the other.
LLAMA_NAMES = {
    "embedding.": "model.embed_tokens.",
    "blocks.": "model.layers.",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "norm_1": "input_layernorm",
    "norm_2": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


def llama_name(name: str) -> str:
    """What transformers' Llama calls a weight of the decoder."""
    if name == "norm.weight":
        return "model.norm.weight"
    for ours, theirs in LLAMA_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def as_llama(decoder: nn.Module, shape: Shape) -> LlamaForCausalLM:
    """transformers' Llama with the same weights; a decoder with other names than `Decoder`'s is refused.

    Raises:
        RuntimeError: weights are missing or left over.
    """
    llama = LlamaForCausalLM(shape.config())
    weights = {llama_name(name): weight for name, weight in decoder.state_dict().items()}
    llama.load_state_dict(weights | {"lm_head.weight": decoder.embedding.weight})
    return llama.eval()


def optimizers(model: nn.Module, rate: float = RATE, decay: float = DECAY) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else (embeddings, heads, routers, norms); of this
    decoder, or of one of transformers.

    Source: Jordan et al. 2024; Muon's steps are as large as AdamW's (Liu et al. 2025, section 2.2), so that both share
        the rate.
    """
    matrices, others = [], []
    for name, weight in model.named_parameters():
        inside = weight.ndim == 2 and not any(part in name for part in ("embed", "lm_head", "router"))
        (matrices if inside else others).append(weight)
    return [
        Muon(matrices, rate, decay),
        torch.optim.AdamW(others, rate, betas=(0.9, 0.95), weight_decay=decay, fused=True),
    ]


@torch.inference_mode()
def write(model, count: int, length: int, temperature: float = 1.0, seed: int = 0, before: str = "") -> list[str]:
    """Texts that the model draws byte by byte from `BREAK` on, each up to the next one, which ends a dialogue.

    Args:
        count: of texts; length: bytes after which the longest are cut off; temperature: divides the logits.
        seed: of the draws; before: what stands before the break, of which half a window is read. In training a dialogue
            always followed another.
    Raises:
        ValueError: a temperature of 0 or less.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: {temperature}; it divides the logits and must be above 0")
    generator, cache = torch.Generator().manual_seed(seed), []
    read = written = byte_ids(before + BREAK)[-WINDOW // 2 :].repeat(count, 1)
    start = written.shape[1]
    while written.shape[1] < start + length:
        probabilities = (model(read, cache)[:, -1] / temperature).softmax(-1)
        read = torch.multinomial(probabilities, 1, generator=generator)
        written = torch.cat([written, read], 1)
        if cache[0][0].shape[2] == WINDOW - 1:  # the window is full: half of it is read anew, and the rest forgotten
            cache.clear()
            read = written[:, -WINDOW // 2 :]
    return [_dialogue(row) for row in written[:, start:].tolist()]


def _dialogue(ids):
    """Bytes as text up to the first break."""
    return bytes(ids).decode(errors="replace").partition(BREAK)[0]
