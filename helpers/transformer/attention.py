"""Attention: what each head of a T5 looks at while it reads and writes, and one block of its encoder computed by
hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from helpers.models.generation import evaluating
from helpers.models.sampling import token_text

KINDS = ("encoder", "decoder", "cross")


@contextmanager
def eager(model) -> Iterator[None]:
    """Inside, the model makes its attention weights one by one and can show them; afterwards it attends as before.

    The fast ways of attending (helpers.models.cpu, "sdpa") never make the weights: asked for them, they give None.
    """
    kept = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(kept)


@dataclass(frozen=True)
class Maps:
    """The attention weights of one prompt and its completion; every row sums to 1.

    Attributes:
        prompt, completion: ids of S and T tokens, end tokens included; step t of the decoder is the one that writes
            completion[t].
        encoder: (L, H, S, S); decoder: (L, H, T, T); cross: (L, H, T, S): layer, head, who looks, who is looked at.
    """

    prompt: list[int]
    completion: list[int]
    encoder: torch.Tensor
    decoder: torch.Tensor
    cross: torch.Tensor


def attention_maps(model, tokenizer, prompt: str, completion: str) -> Maps:
    """All attention weights of a T5 that reads the prompt and writes the completion, token by token as it is given."""
    ids, labels = (tokenizer(text, truncation=True)["input_ids"] for text in (prompt, completion))
    batch = {
        "input_ids": torch.tensor([ids], device=model.device),
        "labels": torch.tensor([labels], device=model.device),
    }
    with torch.inference_mode(), evaluating(model), eager(model):
        found = model(**batch, output_attentions=True)
    stacked = (
        torch.stack([layer[0] for layer in weights]).float().cpu()
        for weights in (found.encoder_attentions, found.decoder_attentions, found.cross_attentions)
    )
    return Maps(ids, labels, *stacked)


def pieces(tokenizer, ids) -> list[str]:
    """The tokens as a figure shows them: ␣ is a space, ⏎ a new line."""
    return [token_text(tokenizer, index).replace("▁", "␣").replace("\n", "⏎") for index in ids]


def copied_places(maps: Maps) -> list[tuple[int, int]]:
    """(step, place) of each token of the completion that the prompt has exactly once, the end token left out."""
    ids = np.array(maps.prompt)
    return [
        (step, int(np.flatnonzero(ids == token)[0]))
        for step, token in enumerate(maps.completion[:-1])
        if (ids == token).sum() == 1
    ]


def copied_shares(maps: Maps) -> tuple[np.ndarray, np.ndarray]:
    """(L, H) the mean share of the cross-attention on the place of the very token that is written, and its control.

    The control is what the other such steps of the same completion give to the same places: a place that draws
    attention at every step has as large a control. Both are nan where the completion has fewer than two such
    tokens.
    """
    found = copied_places(maps)
    if len(found) < 2:
        return (np.full(maps.cross.shape[:2], np.nan),) * 2
    steps, places = (list(column) for column in zip(*found))
    weights = maps.cross[:, :, steps][:, :, :, places].numpy()  # (L, H, n, n): step by place
    own = np.einsum("lhnn->lhn", weights)
    others = (weights.sum(2) - own) / (len(found) - 1)
    return own.mean(-1), others.mean(-1)


def rms_norm(layer, states):
    """T5's normalisation: states over the root of their mean square, times a learned weight; no mean is subtracted,
    nothing is added.

    Source: Zhang and Sennrich 2019, eq. 4.
    """
    size = states.float().pow(2).mean(-1, keepdim=True)
    return layer.weight * (states * torch.rsqrt(size + layer.variance_epsilon)).to(layer.weight.dtype)


def split_heads(states, heads: int):
    """(B, S, H·D) as (B, H, S, D): each head reads its own D numbers of every token."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def self_attention(layer, states, bias, mask=None):
    """What T5's self-attention adds to the states, and its weights.

    Args:
        layer: a T5Attention; states: (B, S, d), normalised; bias: (1, H, S, S), of the relative positions.
        mask: (B, S) bool, False on padding; None: all may be seen.
    Returns:
        (B, S, d) and (B, H, S, S).
    Source: Vaswani et al. 2017, eq. 1 and section 3.2.2, without the division by √d (T5 has none) and with a bias
        (Raffel et al. 2020, section 2.1).
    """
    query, key, value = (split_heads(linear(states), layer.n_heads) for linear in (layer.q, layer.k, layer.v))
    scores = query @ key.transpose(-1, -2) + bias
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
    weights = scores.softmax(-1)
    return layer.o((weights @ value).transpose(1, 2).flatten(2)), weights


def feed_forward(layer, states):
    """What the gated feed-forward layer adds: (B, S, d). Source: Shazeer 2020, eq. 6, with GELU's tanh form."""
    gate = torch.nn.functional.gelu(layer.wi_0(states), approximate="tanh")
    return layer.wo(gate * layer.wi_1(states))


def encoder_block(block, states, bias, mask=None):
    """(B, S, d) what a block of T5's encoder makes of the states: twice normalise, compute, add."""
    attention, dense = block.layer
    states = states + self_attention(attention.SelfAttention, rms_norm(attention.layer_norm, states), bias, mask)[0]
    return states + feed_forward(dense.DenseReluDense, rms_norm(dense.layer_norm, states))


def stage_shapes(model, tokenizer, prompt: str, completion: str) -> list[tuple[str, tuple[int, ...]]]:
    """(stage, shape) of everything that a T5 computes on the way from a prompt's ids to the next token's
    probabilities.
    """
    first, last = model.encoder.block[0], model.decoder.block[-1]
    stages = {
        "embeddings": model.encoder.embed_tokens,
        "encoder, block 1: queries of all heads": first.layer[0].SelfAttention.q,
        "encoder, block 1: after self-attention": first.layer[0],
        "encoder, block 1: inside feed-forward": first.layer[1].DenseReluDense.wo,
        "encoder: final states": model.encoder.final_layer_norm,
        "decoder, last block: after self-attention": last.layer[0],
        "decoder, last block: after cross-attention": last.layer[1],
        "decoder: final states": model.decoder.final_layer_norm,
        "logits": model.lm_head,
    }
    ids, labels = (
        tokenizer(text, return_tensors="pt", truncation=True)["input_ids"].to(model.device)
        for text in (prompt, completion)
    )
    shapes = {"prompt's ids": tuple(ids.shape), "completion's ids": tuple(labels.shape)}

    def note(name):
        def hook(module, inputs, output):
            tensor = inputs[0] if "inside" in name else output[0] if isinstance(output, tuple) else output
            shapes.setdefault(name, tuple(tensor.shape))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in stages.items()]
    try:
        with torch.inference_mode(), evaluating(model):
            model(input_ids=ids, labels=labels)
    finally:
        for hook in hooks:
            hook.remove()
    return list(shapes.items())
