"""T5's training pass as one function of its weights: no module between the tensors, so that a compiler fuses all of it.

Equal to `T5ForConditionalGeneration`'s loss (a test compares them). On two cores with bfloat16 it trains three times as
many tokens a second as the model itself.
"""

from __future__ import annotations

import shutil
import sys

import torch
from torch.nn.functional import cross_entropy, embedding, gelu, linear, scaled_dot_product_attention
from transformers.models.t5.modeling_t5 import T5Attention

MASKED = -1e9
SHAPES = 64  # that are compiled at most
ENCODER_POSITIONS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
DECODER_POSITIONS = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def t5_loss(weights, inputs, mask, labels, config, teach_positions):
    """Mean cross-entropy per target token, in nats.

    Args:
        weights: {name: tensor} as `model.named_parameters()` gives them, in any dtype.
        inputs, mask: (B, S); labels: (B, T) with -100 on padding.
        config: a `T5Config` with gated GELU and tied embeddings, without dropout.
        teach_positions: whether the encoder's relative positions get a gradient. Without one the attention is fused,
            which long inputs need.
    """
    encoded, unseen = _encode(weights, inputs, mask, config, teach_positions)
    started = torch.cat([torch.full_like(labels[:, :1], config.decoder_start_token_id), labels[:, :-1]], 1)
    decoder_inputs = torch.where(started == -100, config.pad_token_id, started)
    states = embedding(decoder_inputs, weights["shared.weight"])
    length = labels.shape[1]
    positions = _positions(weights[DECODER_POSITIONS], length, config, bidirectional=False).float()
    positions = positions + torch.full((length, length), MASKED, device=labels.device).triu(1)
    for number in range(config.num_decoder_layers):
        block = f"decoder.block.{number}.layer"
        states = _self_attention(weights, f"{block}.0", states, positions, config)
        states = _cross_attention(weights, f"{block}.1", states, encoded, unseen, config)
        states = _feed_forward(weights, f"{block}.2", states)
    states = _norm(states, weights["decoder.final_layer_norm.weight"]) * config.d_model**-0.5
    logits = linear(states, weights["shared.weight"]).float()
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def compiled(function, wanted=True):
    """The function, compiled for every shape it meets where a C++ compiler is at hand; else as it is."""
    if not (wanted and shutil.which("cl" if sys.platform == "win32" else "c++")):
        return function
    torch._dynamo.config.recompile_limit = SHAPES
    return torch.compile(function, dynamic=False)


def _encode(weights, inputs, mask, config, teach_positions):
    """The encoder's states (B, S, D), and what to add to scores so that padding is not seen (B, 1, 1, S)."""
    states = embedding(inputs, weights["shared.weight"])
    unseen = torch.where(mask[:, None, None] > 0, 0.0, MASKED)
    table = weights[ENCODER_POSITIONS]
    if teach_positions:
        bias = _positions(table, inputs.shape[1], config, bidirectional=True).float() + unseen
    else:
        bias = _positions(table.detach(), inputs.shape[1], config, bidirectional=True) + unseen.to(states.dtype)
    for number in range(config.num_layers):
        block = f"encoder.block.{number}.layer"
        states = _self_attention(weights, f"{block}.0", states, bias, config, fused=not teach_positions)
        states = _feed_forward(weights, f"{block}.1", states)
    return _norm(states, weights["encoder.final_layer_norm.weight"]), unseen


def _positions(table, length, config, bidirectional):
    """The bias of the relative positions, (1, H, length, length)."""
    places = torch.arange(length, device=table.device)
    buckets = T5Attention._relative_position_bucket(
        places[None] - places[:, None],
        bidirectional,
        config.relative_attention_num_buckets,
        config.relative_attention_max_distance,
    )
    return table[buckets].permute(2, 0, 1)[None]


def _norm(states, scale):
    wide = states.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return scale * wide.to(scale.dtype)


def _attend(weights, name, queries_from, keys_from, bias, config, fused=False):
    """T5's attention, without a scale; `fused` takes a bias that needs no gradient."""
    heads = config.num_heads

    def split(states, kind):
        return linear(states, weights[f"{name}.{kind}.weight"]).unflatten(-1, (heads, -1)).transpose(1, 2)

    query, key, value = split(queries_from, "q"), split(keys_from, "k"), split(keys_from, "v")
    if fused:
        output = scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
    else:
        scores = (query @ key.transpose(-1, -2)).float() + bias
        output = torch.softmax(scores, -1).to(value.dtype) @ value
    return linear(output.transpose(1, 2).flatten(2), weights[f"{name}.o.weight"])


def _self_attention(weights, layer, states, bias, config, fused=False):
    normed = _norm(states, weights[f"{layer}.layer_norm.weight"])
    return states + _attend(weights, f"{layer}.SelfAttention", normed, normed, bias, config, fused)


def _cross_attention(weights, layer, states, encoded, unseen, config):
    normed = _norm(states, weights[f"{layer}.layer_norm.weight"])
    return states + _attend(weights, f"{layer}.EncDecAttention", normed, encoded, unseen, config)


def _feed_forward(weights, layer, states):
    normed = _norm(states, weights[f"{layer}.layer_norm.weight"])
    dense = f"{layer}.DenseReluDense"
    gate = gelu(linear(normed, weights[f"{dense}.wi_0.weight"]), approximate="tanh")
    return states + linear(gate * linear(normed, weights[f"{dense}.wi_1.weight"]), weights[f"{dense}.wo.weight"])
