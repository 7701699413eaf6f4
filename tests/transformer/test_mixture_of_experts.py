"""A mixture of experts: Mixtral's numbers, a whole decoder too; the balance loss; what is counted of routing."""

import numpy as np
import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from helpers.transformer.gpt import Decoder, llama_name, optimizers
from helpers.transformer.language_models import Dialogues, Shape, byte_ids, fit
from helpers.transformer.mixture_of_experts import (
    BYTE_KINDS,
    MixtureOfExperts,
    Routing,
    balance_loss,
    balance_penalty,
    byte_kinds,
    expert_counts,
    expert_mlp,
    expert_shares,
    mixtures,
    parameters_used,
)

SHAPE = Shape(32, 2)


def as_mixtral(decoder):
    """transformers' Mixtral with the weights of a decoder of mixtures."""
    config = MixtralConfig(
        **{key: value for key, value in SHAPE.config().to_dict().items() if key in ("vocab_size", "hidden_size")},
        intermediate_size=SHAPE.hidden // 2,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.heads,
        num_local_experts=8,
        num_experts_per_tok=2,
        rope_theta=10000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
    weights = {}
    for name, weight in decoder.state_dict().items():
        if "experts" not in name:
            weights[llama_name(name).replace("router", "gate")] = weight
    for number, mixture in enumerate(mixtures(decoder)):
        both = [torch.cat([expert.gate.weight, expert.up.weight]) for expert in mixture.experts]
        weights[f"model.layers.{number}.mlp.experts.gate_up_proj"] = torch.stack(both)
        downs = torch.stack([expert.down.weight for expert in mixture.experts])
        weights[f"model.layers.{number}.mlp.experts.down_proj"] = downs
    model = MixtralForCausalLM(config)
    model.load_state_dict(weights | {"lm_head.weight": decoder.embedding.weight})
    return model.eval()


@pytest.fixture
def decoder():
    made, generator = Decoder(SHAPE, expert_mlp, seed=1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(2 * weight if weight.ndim > 1 else 0.5 + torch.rand(len(weight), generator=generator))
    return made.eval()


@torch.no_grad()
def test_it_is_mixtral_with_the_same_weights(decoder):
    rows = torch.randint(256, (3, 60), generator=torch.Generator().manual_seed(1))
    theirs = as_mixtral(decoder)(rows, output_router_logits=True)
    assert (decoder(rows) - theirs.logits).abs().max() < 1e-5
    for mixture, logits in zip(mixtures(decoder), theirs.router_logits):
        assert torch.allclose(mixture.routing.probabilities, logits.view(-1, 8).softmax(-1), atol=1e-5)


def test_the_balance_loss_is_the_librarys_and_looks_away_from_padding():
    logits = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    routing = Routing(logits.softmax(-1), logits.topk(2).indices)
    assert balance_loss(routing).item() == pytest.approx(load_balancing_loss_func((logits,), 8, 2).item() / 2, rel=1e-5)
    counted = torch.arange(12) < 9
    mask = counted.view(1, 12).long()
    theirs = load_balancing_loss_func((logits,), 8, 2, mask).item() / 2
    assert balance_loss(routing, counted).item() == pytest.approx(theirs, rel=1e-5)
    assert abs(balance_loss(routing, counted).item() - balance_loss(routing).item()) > 1e-3


def test_the_balance_loss_is_1_for_even_shares_and_grows_with_one_experts():
    even = Routing(torch.full((4, 8), 1 / 8), torch.arange(8).view(4, 2))
    liked = Routing(torch.tensor([[1.0] + [0.0] * 7] * 4), torch.zeros(4, 1, dtype=torch.long))
    assert balance_loss(even).item() == pytest.approx(1) and balance_loss(liked).item() == pytest.approx(8)


def test_weights_of_the_chosen_add_up_to_1_and_no_other_expert_computes():
    mixture, states = MixtureOfExperts(16, 24, experts=4), torch.randn(2, 5, 16)
    out, chosen = mixture(states), mixture.routing.chosen
    for number, expert in enumerate(mixture.experts):
        if number not in chosen[0]:
            torch.nn.init.constant_(expert.down.weight, 1e6)
    assert torch.equal(mixture(states)[0, 0], out[0, 0])
    for expert in mixture.experts:
        expert.load_state_dict(mixture.experts[0].state_dict())
    assert torch.allclose(mixture(states), mixture.experts[0](states), atol=1e-4)
    with pytest.raises(ValueError, match="chosen: 5 of 4"):
        MixtureOfExperts(16, 24, experts=4, chosen=5)


def test_a_byte_uses_as_many_parameters_as_in_a_dense_decoder_and_the_router(decoder):
    dense = sum(weight.numel() for weight in Decoder(SHAPE).parameters())
    assert parameters_used(decoder) == dense + SHAPE.layers * 8 * SHAPE.width
    assert parameters_used(Decoder(SHAPE)) == dense
    held = sum(weight.numel() for weight in decoder.parameters())
    assert held == parameters_used(decoder) + SHAPE.layers * 3 * 3 * SHAPE.width * SHAPE.hidden


def test_the_penalty_evens_the_shares():
    source = Dialogues("travel")

    def unevenness(weight):
        model = Decoder(SHAPE, expert_mlp, seed=1)
        fit(model, source.draw("t"), 2**15, optimizers(model), lambda: balance_penalty(model, weight))
        model(byte_ids("".join(source.some(2, "held")))[None, :256])
        return np.mean([balance_loss(mixture.routing).item() for mixture in mixtures(model)])

    assert unevenness(1.0) < min(1.1, unevenness(0.0) - 0.01)


def test_kinds_of_bytes():
    text = "\nA: I'm 4 miles"
    found = [BYTE_KINDS[place] for place in byte_kinds(byte_ids(text))]
    letter, sign = "first letter of a word", "sign or digit"
    expected = ["new line", letter, sign, "blank", letter, sign, letter, "blank", sign, "blank"]
    assert found == [*expected, letter, "vowel", "consonant", "vowel", "consonant"]


def test_counts_hold_each_byte_twice_and_shares_are_of_bytes(decoder):
    texts = ["A: Good morning. " * 40, "B: No."]
    counts = expert_counts(decoder, texts)
    assert counts.shape == (2, SHAPE.layers, len(BYTE_KINDS), 8)
    assert counts.sum((2, 3)).tolist() == [[2 * len(text)] * SHAPE.layers for text in texts]
    assert expert_shares(counts).sum(-1) == pytest.approx(np.full((2, SHAPE.layers), 2))
    blanks = counts[0, 0, BYTE_KINDS.index("blank")].sum()
    assert blanks == 2 * texts[0].count(" ")
