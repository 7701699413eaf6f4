"""Attention by hand against the library's, and what maps say about copying."""

import numpy as np
import pytest
import torch

from helpers.models.cpu import NAME
from helpers.transformer.attention import (
    Maps,
    attention_maps,
    copied_places,
    copied_shares,
    eager,
    encoder_block,
    feed_forward,
    pieces,
    rms_norm,
    self_attention,
    stage_shapes,
)
from helpers.transformer.positions import first_attention


@pytest.fixture(scope="module")
def padded(tiny_model, tiny_tokenizer, dialogues):
    """Two dialogues of different length, what the library's encoder makes of them, and the biases of their places."""
    batch = tiny_tokenizer(dialogues[:2], return_tensors="pt", padding=True)
    assert not batch["attention_mask"].all()
    with torch.inference_mode(), eager(tiny_model):
        found = tiny_model.encoder(**batch, output_attentions=True, output_hidden_states=True)
        bias = first_attention(tiny_model.encoder).compute_bias(*[batch["input_ids"].shape[1]] * 2)
    return batch["attention_mask"].bool(), found, bias


def test_a_block_by_hand_is_the_librarys(tiny_model, padded):
    mask, found, bias = padded
    with torch.inference_mode():
        mine = encoder_block(tiny_model.encoder.block[0], found.hidden_states[0], bias, mask)
        last = rms_norm(tiny_model.encoder.final_layer_norm, mine)
    torch.testing.assert_close(last[mask], found.last_hidden_state[mask], atol=1e-5, rtol=1e-5)


def test_weights_by_hand_are_the_librarys_and_padding_gets_none(tiny_model, padded):
    mask, found, bias = padded
    layer = tiny_model.encoder.block[0].layer[0]
    with torch.inference_mode():
        _, weights = self_attention(layer.SelfAttention, rms_norm(layer.layer_norm, found.hidden_states[0]), bias, mask)
    torch.testing.assert_close(weights, found.attentions[0], atol=1e-5, rtol=1e-5)
    assert weights[1, :, :, ~mask[1]].max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_the_feed_forward_layer_by_hand_is_the_librarys(tiny_model):
    layer, states = (
        tiny_model.encoder.block[0].layer[1].DenseReluDense,
        torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0)),
    )
    with torch.inference_mode():
        torch.testing.assert_close(feed_forward(layer, states), layer(states), atol=1e-5, rtol=1e-5)


def test_the_model_attends_afterwards_as_before(tiny_model):
    kept = tiny_model.config._attn_implementation
    with pytest.raises(RuntimeError, match="stop"), eager(tiny_model):
        assert tiny_model.config._attn_implementation == "eager"
        raise RuntimeError("stop")
    assert tiny_model.config._attn_implementation == kept


def test_maps_sum_to_one_and_the_decoder_sees_nothing_to_come(tiny_model, tiny_tokenizer, dialogues, summaries):
    maps = attention_maps(tiny_model, tiny_tokenizer, dialogues[0], summaries[0])
    prompt, written = len(maps.prompt), len(maps.completion)
    assert (
        maps.encoder.shape == (1, 2, prompt, prompt)
        and maps.decoder.shape == (1, 2, written, written)
        and maps.cross.shape == (1, 2, written, prompt)
    )
    for kind in (maps.encoder, maps.decoder, maps.cross):
        torch.testing.assert_close(kind.sum(-1), torch.ones_like(kind[..., 0]))
    assert maps.decoder[0, 0].triu(1).abs().max() == 0 and maps.encoder[0, 0].triu(1).max() > 0
    assert len(pieces(tiny_tokenizer, maps.prompt)) == prompt and "⏎" in "".join(pieces(tiny_tokenizer, maps.prompt))


def test_maps_can_be_made_of_a_model_that_is_set_up_for_the_cpu(tiny_model, tiny_tokenizer):
    tiny_model.set_attn_implementation(NAME)
    try:
        assert attention_maps(tiny_model, tiny_tokenizer, "Is it?", "It is.").cross.isfinite().all()
    finally:
        tiny_model.set_attn_implementation("eager")


def copying(share):
    """A map in which every step gives `share` to the place of its own token, and the rest to the end token."""
    weights = torch.zeros(1, 1, 4, 5)
    for step, place in enumerate((2, 0, 1)):
        weights[0, 0, step, place] = share
    weights[0, 0, :, 4] = 1 - share
    return Maps([7, 8, 9, 5, 1], [9, 7, 8, 1], torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 4, 4), weights)


def test_shares_of_copied_tokens_and_their_control():
    maps = copying(0.6)
    assert copied_places(maps) == [(0, 2), (1, 0), (2, 1)]
    own, control = copied_shares(maps)
    assert own.item() == pytest.approx(0.6) and control.item() == 0


def test_a_place_that_always_draws_attention_has_as_large_a_control():
    maps = copying(0.0)
    maps.cross[0, 0, :, :3] = 0.25
    own, control = copied_shares(maps)
    assert own.item() == pytest.approx(control.item()) == pytest.approx(0.25)


def test_tokens_that_the_prompt_has_twice_or_not_at_all_do_not_count():
    maps = copying(0.6)
    twice = Maps([7, 8, 9, 9, 1], [9, 7, 6, 1], maps.encoder, maps.decoder, maps.cross)
    assert copied_places(twice) == [(1, 0)] and all(np.isnan(found).all() for found in copied_shares(twice))


def test_shapes_are_named_in_the_order_of_the_computation(tiny_model, tiny_tokenizer):
    hooks = [len(module._forward_hooks) for module in tiny_model.modules()]
    shapes = stage_shapes(tiny_model, tiny_tokenizer, "Is it a glove?", "It is.")
    names, ids = [name for name, _ in shapes], len(tiny_tokenizer("Is it a glove?")["input_ids"])
    assert names[0] == "prompt's ids" and names[-1] == "logits" and dict(shapes)["embeddings"] == (1, ids, 32)
    assert (
        dict(shapes)["encoder, block 1: inside feed-forward"] == (1, ids, 64)
        and dict(shapes)["logits"][-1] == tiny_model.config.vocab_size
    )
    assert hooks == [len(module._forward_hooks) for module in tiny_model.modules()]
