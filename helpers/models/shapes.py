"""Shapes: untrained models of FLAN-T5's published sizes, to count and to time without fetching weights."""

from __future__ import annotations

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

COMMON = {"d_kv": 64, "vocab_size": 32128, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "pad_token_id": 0,
          "eos_token_id": 1}
SHAPES = {
    "google/flan-t5-small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6},
    "google/flan-t5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12},
}


def untrained(name: str, device: str = "meta", seed: int = 0) -> T5ForConditionalGeneration:
    """A model of the named one's shapes with weights drawn at random; its output head is its own, as in FLAN-T5.

    Args:
        device: on "meta" the weights have shapes and no values: nothing is computed and no memory is needed.
    Raises:
        ValueError: the name is not in `SHAPES`.
    Source: the config.json that comes with the weights (Chung et al. 2022).
    """
    if name not in SHAPES:
        raise ValueError(f"name: {name!r} is not one of {', '.join(SHAPES)}")
    with torch.device(device), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(T5Config(**COMMON | SHAPES[name]))
        model.lm_head = nn.Linear(model.config.d_model, model.config.vocab_size, bias=False)    # T5Config alone ties it to the embeddings
        model.config.tie_word_embeddings = False
    return model
