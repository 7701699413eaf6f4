"""The policy: one encoder-decoder backbone with a value head; switching its adapter off gives the reference model."""

from __future__ import annotations

import copy
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields

import torch
from peft import PeftModel
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from helpers.methods import Method, adapt, lora
from helpers.ppo import token_entropy, token_logprobs


@dataclass(frozen=True)
class Rollout:
    """Completions that a policy wrote, and what it thought of each token; B completions of at most T tokens.

    Attributes:
        prompt_ids, prompt_mask: (B, S), padded on the right.
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

    def __len__(self):
        return len(self.mask)

    def rows(self, chosen) -> Rollout:
        """Some of the completions, without the columns that only others needed."""
        part = {field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        prompt, tokens = int(part["prompt_mask"].sum(1).max()), int(part["mask"].sum(1).max())
        width = {"prompt_ids": prompt, "prompt_mask": prompt, "decoder_ids": 1 + tokens}
        return Rollout(**{name: value[:, :width.get(name, tokens)] for name, value in part.items()})


class Policy(nn.Module):
    """A model that chooses tokens, and a value head that says, before each token, what reward it expects in the end.

    The head is one linear layer on the decoder's last hidden state (after its norm) and starts at zero, so that the first
    values are 0. Dropout stays off, in rollouts and updates alike: otherwise the ratio of new to old probability would be noise.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model.eval()
        self.value_head = nn.Linear(self.backbone.config.d_model, 1, device=model.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    @classmethod
    def from_supervised(cls, supervised, method: Method | None = None, seed: int = 0) -> Policy:
        """A LoRA policy on a copy of the supervised model; an adapter that the model has is merged into that copy first.

        So the reference, the policy with its adapter switched off, is the *supervised* model, and the KL starts at 0.
        """
        merged = copy.deepcopy(supervised)
        merged = merged.merge_and_unload() if isinstance(merged, PeftModel) else merged
        return cls(adapt(merged, method or lora(), seed).to(supervised.device))

    @property
    def backbone(self):
        """The encoder-decoder itself, adapter layers included."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def device(self):
        return self.value_head.weight.device

    def train(self, mode: bool = True):
        """Dropout stays off whatever is asked: see above."""
        return super().train(False)

    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> weight that training changes: the adapter's and the value head's (all, where there is no adapter)."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    @contextmanager
    def as_reference(self):
        """Inside, the adapter is switched off: the model answers as it did before any reinforcement."""
        with self.model.disable_adapter() if isinstance(self.model, PeftModel) else nullcontext():
            yield self

    def forward(self, prompt_ids, prompt_mask, decoder_ids, entropy: bool = False):
        """(logprobs, values, entropy) of the tokens decoder_ids[:, 1:], each (B, T); entropy is None unless asked for.

        Args:
            prompt_ids, prompt_mask: (B, S); decoder_ids: (B, 1 + T), padded on the right, where the results mean nothing.
        """
        output = self.backbone(input_ids=prompt_ids, attention_mask=prompt_mask, decoder_input_ids=decoder_ids[:, :-1], output_hidden_states=True,
                               use_cache=False)
        logits = output.logits.float()
        values = self.value_head(output.decoder_hidden_states[-1].float())[..., 0]
        return token_logprobs(logits, decoder_ids[:, 1:]), values, token_entropy(logits) if entropy else None

    @torch.no_grad()
    def reference_logprobs(self, rollout: Rollout) -> torch.Tensor:
        """(B, T) what the reference model gives the rollout's tokens; zero where the mask is False."""
        with self.as_reference():
            return self(rollout.prompt_ids, rollout.prompt_mask, rollout.decoder_ids)[0] * rollout.mask

    @torch.no_grad()
    def sample(self, prompt_ids, prompt_mask, max_new_tokens: int, generator: torch.Generator | None = None) -> Rollout:
        """Completions drawn from the policy's own distribution (temperature 1, nothing cut off), all prompts in one batch.

        Log-probabilities and values are kept as they arise; training needs no second look at what was written.
        """
        config = self.backbone.config
        encoded = BaseModelOutput(self.backbone.get_encoder()(input_ids=prompt_ids, attention_mask=prompt_mask).last_hidden_state)
        token = torch.full((len(prompt_ids), 1), config.decoder_start_token_id, device=self.device)
        ids, found, alive, cache = [token], [], torch.ones(len(prompt_ids), dtype=torch.bool, device=self.device), None
        while alive.any() and len(found) < max_new_tokens:
            output = self.backbone(encoder_outputs=encoded, attention_mask=prompt_mask, decoder_input_ids=token, past_key_values=cache,
                                   use_cache=True, output_hidden_states=True)
            logits, cache = output.logits[:, -1].float(), output.past_key_values
            token = torch.multinomial(logits.softmax(-1), 1, generator=generator).masked_fill(~alive[:, None], config.pad_token_id)
            value = self.value_head(output.decoder_hidden_states[-1][:, -1].float())[:, 0]
            found.append((alive, token_logprobs(logits, token[:, 0]) * alive, value * alive))
            ids.append(token)
            alive = alive & (token[:, 0] != config.eos_token_id)
        mask, logprobs, values = (torch.stack(columns, 1) for columns in zip(*found))
        return Rollout(prompt_ids, prompt_mask, torch.cat(ids, 1), mask, logprobs, values)
