"""Output heads: a head of its own computes the same, until the config's untrue word is believed."""

import copy

import pytest
import torch
from transformers import T5Config

from helpers.models.loading import head_is_tied, with_own_head
from helpers.models.sizes import untrained


def logits(model, tokenizer):
    batch = tokenizer(["The kettle is broken."], return_tensors="pt")
    with torch.inference_mode():
        return model(**batch, labels=batch["input_ids"]).logits


def test_a_head_of_its_own_computes_the_same(tiny_model, tiny_tokenizer):
    before = copy.deepcopy(tiny_model.state_dict())
    apart = with_own_head(tiny_model)
    assert head_is_tied(tiny_model) and not head_is_tied(apart) and apart.config.tie_word_embeddings
    torch.testing.assert_close(logits(apart, tiny_tokenizer), logits(tiny_model, tiny_tokenizer), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(weights, before[name]) for name, weights in tiny_model.state_dict().items())


@pytest.mark.parametrize("said", [True, False])
def test_resizing_replaces_the_head_where_the_config_says_that_it_is_tied(tiny_model, tiny_tokenizer, said):
    apart = with_own_head(tiny_model)
    apart.config.tie_word_embeddings = said
    expected = logits(tiny_model, tiny_tokenizer)
    apart.resize_token_embeddings(apart.config.vocab_size + 8, mean_resizing=False)
    assert head_is_tied(apart) == said
    assert torch.allclose(logits(apart, tiny_tokenizer)[..., :expected.shape[-1]], expected, atol=1e-3) == (not said)


def test_a_head_that_is_apart_already_is_left_as_it_is():
    model = untrained("google/flan-t5-small")
    apart = with_own_head(model)
    assert apart.lm_head.weight.shape == model.lm_head.weight.shape and not head_is_tied(apart) and apart.config.tie_word_embeddings


def test_t5config_ties_whatever_it_is_told():
    assert T5Config(tie_word_embeddings=False).tie_word_embeddings
