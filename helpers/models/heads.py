"""Output heads: where T5's logits come from, and a model whose head is its own, as FLAN-T5's is."""

from __future__ import annotations

import copy

import torch
from torch import nn

from helpers.models.loading import head_is_tied


def with_own_head(model):
    """A copy of a T5 that computes the same with a head apart from its embeddings.

    Where the head is the embeddings, T5 multiplies its last states by 1/√d first; the copy's head has that in its weights instead. Its
    config says what `T5Config` makes of every config: that the two are tied.
    """
    apart = copy.deepcopy(model)
    if head_is_tied(model):
        head = nn.Linear(model.config.d_model, model.config.vocab_size, bias=False, device=model.device, dtype=model.dtype)
        scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
        with torch.no_grad():
            head.weight.copy_(model.get_input_embeddings().weight * scale)
        apart.lm_head = head
        apart.config.scale_decoder_outputs = False
    apart.config.tie_word_embeddings = True
    return apart
