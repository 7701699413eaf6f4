"""The policy: one encoder-decoder backbone with a value head; switching its adapter off gives the reference model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from peft import PeftModel
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutput

from helpers.alignment.ppo import token_logprobs
from helpers.models.generation import encode_prompts
from helpers.training.finetuning_methods import Method, adapt, lora


@dataclass(frozen=True)
class Rollout:
    """Completions that a policy wrote, and what it thought of each token; B completions of at most T tokens.

    Attributes:
        prompt_ids, prompt_mask: (B, S), padded on the right; states: (B, S, d) the encoder's, None where training
            changes the encoder.
        decoder_ids: (B, 1 + T): the start token and the completion.
        mask: (B, T) bool, True on the completion's tokens, its end token included.
        logprobs, values: (B, T) of the policy when it chose the token; zero where the mask is False.
    """

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    decoder_ids: torch.Tensor
    mask: torch.Tensor
    logprobs: torch.Tensor
    values: torch.Tensor
    states: torch.Tensor | None = None

    def __len__(self):
        return len(self.mask)

    def texts(self, tokenizer) -> list[str]:
        """The completions as text."""
        return [text.strip() for text in tokenizer.batch_decode(self.decoder_ids, skip_special_tokens=True)]

    def rows(self, chosen) -> Rollout:
        """Some of the completions, without the columns that only others needed."""
        part = {name: value[chosen] for name, value in vars(self).items() if value is not None}
        prompt, tokens = int(part["prompt_mask"].sum(1).max()), int(part["mask"].sum(1).max())
        width = {"prompt_ids": prompt, "prompt_mask": prompt, "states": prompt, "decoder_ids": 1 + tokens}
        return Rollout(**{name: value[:, : width.get(name, tokens)] for name, value in part.items()})


class Scored(NamedTuple):
    """What a policy says of given tokens: log-probabilities and values, (B, T), and the logits that they come from, (B,
    T, V).
    """

    logprobs: torch.Tensor
    values: torch.Tensor
    logits: torch.Tensor


def encode_for_policy(tokenizer, prompts: Sequence[str], device) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask) of the prompts, (B, S) each, padded on the right. Raises GenerationError as
    `helpers.models.generation.encode_prompts` does.
    """
    rows = [torch.tensor(row) for row in encode_prompts(tokenizer, list(prompts))]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id).to(device), mask.to(device)


class Policy(nn.Module):
    """A model that chooses tokens, and a value head that says, before each token, what reward it expects in the end.

    The head is one linear layer on the decoder's last hidden state (after its norm) and starts at zero, so that the
    first values are 0. Dropout stays off, in rollouts and updates alike: otherwise the ratio of new to old probability
    would be noise.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model.eval()
        self.value_head = nn.Linear(self.backbone.config.d_model, 1, device=model.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    @classmethod
    def from_supervised(cls, supervised, method: Method | None = None, seed: int = 0) -> Policy:
        """A LoRA policy on a copy of the supervised model; an adapter that the model has is merged into the copy.

        So the reference, the policy with its adapter switched off, is the *supervised* model, and the KL starts at 0.
        Without a `method` the encoder stays as it is: what a dialogue says is understood already, and each prompt is
        encoded once instead of in every pass.
        """
        merged = copy.deepcopy(supervised).merge_and_unload() if isinstance(supervised, PeftModel) else supervised
        return cls(adapt(merged, method or lora(encoder=False), seed).to(supervised.device))

    @property
    def backbone(self):
        """The encoder-decoder itself, adapter layers included."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def device(self):
        return self.value_head.weight.device

    @property
    def encoder_is_fixed(self) -> bool:
        """Whether training leaves the encoder as it is, so that its states can be kept."""
        return not any(weight.requires_grad for weight in self.backbone.get_encoder().parameters())

    def train(self, mode: bool = True):
        """Dropout always stays off, also with mode=True: see above."""
        return super().train(False)

    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> weight that training changes: the adapter's and the value head's (all, where there is no adapter)."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    @contextmanager
    def as_reference(self):
        """Inside, the adapter is switched off: the model answers as it did before any reinforcement."""
        with self.model.disable_adapter() if isinstance(self.model, PeftModel) else nullcontext():
            yield self

    def forward(self, prompt_ids, prompt_mask, decoder_ids, states=None) -> Scored:
        """What the policy says of the tokens decoder_ids[:, 1:].

        Args:
            prompt_ids, prompt_mask: (B, S); decoder_ids: (B, 1 + T), padded on the right, where the results mean
                nothing.
            states: (B, S, d) of the encoder, where they are known.
        """
        prompt = {"input_ids": prompt_ids} if states is None else {"encoder_outputs": BaseModelOutput(states)}
        output = self.backbone(
            **prompt,
            attention_mask=prompt_mask,
            decoder_input_ids=decoder_ids[:, :-1],
            output_hidden_states=True,
            use_cache=False,
        )
        logits = output.logits.float()
        values = self.value_head(output.decoder_hidden_states[-1].float())[..., 0]
        # One completion after the other: all at once, the backward pass would hold two more tables of (B, T, V).
        logprobs = torch.stack([token_logprobs(*row) for row in zip(logits, decoder_ids[:, 1:])])
        return Scored(logprobs, values, logits)

    @torch.no_grad()
    def reference_logprobs(self, rollout: Rollout) -> torch.Tensor:
        """(B, T) what the reference model gives the rollout's tokens; zero where the mask is False."""
        with self.as_reference():
            return (
                self(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids, rollout.states).logprobs
                * rollout.mask
            )

    @torch.no_grad()
    def sample(self, prompt_ids, prompt_mask, max_new_tokens: int, generator: torch.Generator | None = None) -> Rollout:
        """Completions drawn from the policy's own distribution (temperature 1, nothing cut off), all prompts in one
        batch.

        Log-probabilities and values are kept as they arise; training needs no second look at what was written.
        """
        config, count = self.backbone.config, len(prompt_ids)
        encoded = states = self.backbone.get_encoder()(
            input_ids=prompt_ids, attention_mask=prompt_mask
        ).last_hidden_state
        ids = torch.full((count, 1 + max_new_tokens), config.pad_token_id, device=self.device)
        ids[:, 0] = config.decoder_start_token_id
        logprobs, values = torch.zeros(2, count, max_new_tokens, device=self.device)
        mask = torch.zeros(count, max_new_tokens, dtype=torch.bool, device=self.device)
        rows, attended, cache = (
            torch.arange(count, device=self.device),
            prompt_mask,
            None,
        )  # those that have not ended yet
        for t in range(max_new_tokens):
            output = self.backbone(
                encoder_outputs=BaseModelOutput(states),
                attention_mask=attended,
                decoder_input_ids=ids[rows, t : t + 1],
                past_key_values=cache,
                use_cache=True,
                output_hidden_states=True,
            )
            logits, cache = output.logits[:, -1].float(), output.past_key_values
            drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            ids[rows, t + 1], mask[rows, t], logprobs[rows, t] = drawn, True, token_logprobs(logits, drawn)
            values[rows, t] = self.value_head(output.decoder_hidden_states[-1][:, -1].float())[:, 0]
            going = drawn != config.eos_token_id
            if not going.any():
                break
            if not going.all():
                rows, states, attended = rows[going], states[going], attended[going]
                cache.batch_select_indices(going.nonzero()[:, 0])
        width = int(mask.sum(1).max())
        return Rollout(
            prompt_ids,
            prompt_mask,
            ids[:, : 1 + width],
            mask[:, :width],
            logprobs[:, :width],
            values[:, :width],
            encoded if self.encoder_is_fixed else None,
        )
