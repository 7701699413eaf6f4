"""Rounds: a batch is decoded greedily in rounds, and rows that have ended leave it, so that one long completion does not hold up all others."""

from __future__ import annotations

import copy

import torch
from transformers import StoppingCriteria
from transformers.modeling_outputs import BaseModelOutput

FEWEST = 8      # rows: a smaller batch is decoded to its end, since another round costs more than it saves


def end_ids(config) -> list[int]:
    """The ids that end a completion, for a GenerationConfig that has one or several."""
    return config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]


class MostHaveEnded(StoppingCriteria):
    """Ends a round once three of four rows have ended."""

    def __init__(self, ends):
        self.ends = torch.tensor(ends)

    def ended(self, ids):
        """(B, 1 + T) token ids, start token first -> (B,) whether there is an end token."""
        return torch.isin(ids[:, 1:], self.ends.to(ids.device)).any(1)

    def __call__(self, input_ids, scores, **_):
        stop = len(input_ids) >= FEWEST and self.ended(input_ids).float().mean() >= 0.75
        return torch.full((len(input_ids),), bool(stop), device=input_ids.device)


def _can_shrink(model, config):
    """Sampling would draw other numbers for other batches, beams are rows of their own, a minimum of new tokens is counted
    from a round's start, and virtual tokens stand before the encoder."""
    virtual = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    return config.num_beams == 1 and not config.do_sample and not config.min_new_tokens and not virtual


def decode(model, input_ids, mask, config) -> list[list[int]]:
    """B lists of ids, the start token first, as `model.generate` gives them; what follows an end token says nothing.

    Args:
        input_ids, mask: (B, S), padded on the right. config: a GenerationConfig with max_new_tokens.
    """
    if not _can_shrink(model, config):
        return model.generate(input_ids=input_ids, attention_mask=mask, generation_config=config).tolist()
    states = model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
    criterion, outputs = MostHaveEnded(end_ids(config)), [None] * len(mask)
    rows, written = torch.arange(len(mask), device=mask.device), None       # whose completions go on, and what they say so far
    while len(rows):
        config_left = copy.copy(config)
        config_left.max_new_tokens = config.max_new_tokens - (0 if written is None else written.shape[1] - 1)
        written = model.generate(encoder_outputs=BaseModelOutput(states), attention_mask=mask, decoder_input_ids=written,
                                 generation_config=config_left, stopping_criteria=[criterion])      # (rows, 1 + T)
        over = criterion.ended(written) | (written.shape[1] > config.max_new_tokens)
        for row, ids in zip(rows[over].tolist(), written[over].tolist()):
            outputs[row] = ids
        width = int(mask[~over].sum(1).max()) if not over.all() else 0
        rows, written, states, mask = rows[~over], written[~over], states[~over, :width], mask[~over, :width]
    return outputs
