"""The next token: its distribution, what temperature, top-k and top-p make of it, and greedy decoding by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from helpers.models.generation import check_parameters, check_positions, encode_prompts, evaluating


@dataclass(frozen=True)
class TokenDistribution:
    """A next-token distribution on its way from the model to the draw; every field is (V,), one entry a token.

    Attributes:
        original: probability as the model gives it.
        tempered: probability after temperature.
        final: probability after top-k and top-p too, with which `generate` draws; 0 for what was cut.
        in_top_k: True for tokens that survive top-k.
        in_top_p: True for tokens that survive top-p as well; it acts on what top-k left over.
    """

    original: torch.Tensor
    tempered: torch.Tensor
    final: torch.Tensor
    in_top_k: torch.Tensor
    in_top_p: torch.Tensor

    def rows(self, tokenizer, count: int = 10) -> list[dict]:
        """The `count` likeliest tokens, best first, one dict each: id, token and the five fields as plain numbers."""
        best = torch.sort(self.original, descending=True, stable=True).indices[:count].tolist()
        return [
            {
                "id": index,
                "token": token_text(tokenizer, index),
                **{name: getattr(self, name)[index].item() for name in self.__dataclass_fields__},
            }
            for index in best
        ]


@dataclass(frozen=True)
class Step:
    """One round of the decoding loop: the chosen token and the likeliest candidates, (token, probability), best
    first.
    """

    token: str
    id: int
    probability: float
    candidates: tuple[tuple[str, float], ...]


def token_text(tokenizer, token_id: int) -> str:
    """The token as the vocabulary writes it ("▁" is a space); ids that the model has beyond the vocabulary as
    "<id>".
    """
    return (tokenizer.convert_ids_to_tokens(token_id) if token_id < len(tokenizer) else None) or f"<{token_id}>"


def _encoded(model, tokenizer, prompt):
    """What the decoder needs of the prompt, made once: the encoder's output and the attention mask, (1, S)."""
    input_ids = torch.tensor(encode_prompts(tokenizer, [prompt]), device=model.device)
    mask = torch.ones_like(input_ids)
    with torch.inference_mode(), evaluating(model):
        return {
            "encoder_outputs": model.get_encoder()(input_ids=input_ids, attention_mask=mask),
            "attention_mask": mask,
        }


def _logits(model, encoded, completion_ids):
    """(V,) logits of the token that follows; the decoder reads the whole completion again, where `generate` caches."""
    decoder_ids = torch.tensor([[model.config.decoder_start_token_id, *completion_ids]], device=model.device)
    with torch.inference_mode(), evaluating(model):
        return model(**encoded, decoder_input_ids=decoder_ids).logits[0, -1].float()


def next_token_logits(model, tokenizer, prompt: str, completion_ids: Sequence[int] = ()) -> torch.Tensor:
    """The model's logits for the token that follows the completion so far.

    Args:
        prompt: what the encoder reads.
        completion_ids: token ids already generated, without the start token.
    Returns:
        (V,) float32, not normalised; V is the model's vocabulary, which may exceed the tokenizer's.
    Raises:
        GenerationError: an empty prompt, or one longer than the window.
    """
    return _logits(model, _encoded(model, tokenizer, prompt), completion_ids)


def token_distribution(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> TokenDistribution:
    """What temperature, top-k and top-p, in this order, make of the next token's distribution.

    Args:
        logits: (V,) float, as `next_token_logits` gives them.
        temperature, top_k, top_p: as for `generate`; 1.0, 0 and 1.0 change nothing.
    Raises:
        GenerationError: a value out of range.
    Source: transformers' own warpers in the order of `generate`; nucleus sampling: Holtzman et al. 2020, section 3.1.
    """
    check_parameters({"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p})
    scores = logits.float()[None]  # (1, V)
    tempered = TemperatureLogitsWarper(float(temperature))(None, scores)
    after_k = TopKLogitsWarper(int(top_k))(None, tempered) if top_k else tempered
    after_p = TopPLogitsWarper(float(top_p))(None, after_k) if top_p < 1 else after_k
    return TokenDistribution(
        original=scores.softmax(-1)[0],
        tempered=tempered.softmax(-1)[0],
        final=after_p.softmax(-1)[0],
        in_top_k=after_k[0] > -torch.inf,
        in_top_p=after_p[0] > -torch.inf,
    )


def greedy_decode(model, tokenizer, prompt: str, max_new_tokens: int = 64, candidates: int = 5) -> Iterator[Step]:
    """The decoding loop, one token at a time: always the likeliest, until the end token (yielded too) or the maximum.

    The ids of the steps, decoded, are what `generate` returns for the same prompt and maximum.

    Args:
        candidates: how many of the likeliest tokens each step lists.
    Raises:
        GenerationError: a maximum below 1 or above the model's positions, an empty prompt, or one longer than the
            window.
    """
    check_parameters({"max_new_tokens": max_new_tokens})
    check_positions(model.config, [], max_new_tokens)
    encoded, completion_ids = _encoded(model, tokenizer, prompt), []
    while len(completion_ids) < max_new_tokens:
        probabilities = _logits(model, encoded, completion_ids).softmax(-1)
        best = torch.sort(probabilities, descending=True, stable=True)
        likeliest = [
            (token_text(tokenizer, index), value)
            for index, value in zip(best.indices[:candidates].tolist(), best.values[:candidates].tolist())
        ]
        token_id = best.indices[0].item()
        completion_ids.append(token_id)
        yield Step(token_text(tokenizer, token_id), token_id, best.values[0].item(), tuple(likeliest))
        if token_id == model.config.eos_token_id:
            return
