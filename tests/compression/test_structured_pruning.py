"""Neurons and heads taken out whole: what is left computes as if the others were switched off, and is an ordinary
T5.
"""

import copy

import pytest
import torch

from helpers.compression.compressed_files import file_bytes, load_compressed, save_compressed
from helpers.compression.structured_pruning import (
    CROSS,
    FEED_FORWARD,
    SELF,
    gradient_importance,
    magnitudes,
    smaller,
    units,
)
from helpers.data.pairs import Collator
from helpers.models.generation import generate
from helpers.models.sizes import count_parameters
from helpers.run_records import fingerprint
from tests.compression.quantization_cases import wide_model
from tests.training.training_cases import logits, tiny_batch, tiny_pairs


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    model = wide_model(tiny_tokenizer)
    with torch.no_grad():  # untrained weights are all alike, and the bias of relative positions is small
        for weight in model.parameters():
            weight.mul_(1 + torch.rand(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    return model


@pytest.fixture(scope="module")
def batch(tiny_tokenizer):
    return tiny_batch(tiny_tokenizer)


def switched_off(model, off):
    """A copy of the same shape in which the columns that bring a unit's result back are zero; off: layer -> indices."""
    copied = copy.deepcopy(model)
    for name, index in off.items():
        group = units(model)[name]
        weight = copied.get_submodule(group.out).weight
        with torch.no_grad():
            weight.view(len(weight), group.count, group.width)[:, index] = 0
    return copied


def chosen(model, places):
    """Importances that make `smaller` take out these places, by kind."""
    return {
        name: torch.tensor([float(place not in places[group.kind]) for place in range(group.count)])
        for name, group in units(model).items()
    }


def test_all_layers_are_found_with_their_neurons_and_heads(model):
    found = units(model)
    assert [group.kind for group in found.values()].count(FEED_FORWARD) == 4 and len(found) == 4 + 4 + 2
    assert (
        found["encoder.block.0.layer.0.SelfAttention"].count == 2
        and found["encoder.block.0.layer.0.SelfAttention"].width == 16
    )
    assert found["decoder.block.1.layer.2.DenseReluDense"].into == (
        "decoder.block.1.layer.2.DenseReluDense.wi_0",
        "decoder.block.1.layer.2.DenseReluDense.wi_1",
    )
    with pytest.raises(ValueError, match="Linear: has no layers called DenseReluDense"):
        units(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    "places",
    [
        {FEED_FORWARD: range(0, 64, 2), SELF: [], CROSS: []},
        {FEED_FORWARD: [], SELF: [0], CROSS: [1]},
        {FEED_FORWARD: range(16), SELF: [1], CROSS: [0]},
    ],
    ids=["neurons", "heads", "both"],
)
def test_what_is_left_computes_as_if_the_others_were_switched_off(model, batch, places):
    before, shares = fingerprint(model), {"neurons": len(places[FEED_FORWARD]) / 64, "heads": len(places[SELF]) / 2}
    small = smaller(model, chosen(model, places), **shares)
    off = switched_off(model, {name: list(places[group.kind]) for name, group in units(model).items()})
    assert torch.allclose(logits(small, batch), logits(off, batch), atol=1e-4) and not torch.allclose(
        logits(small, batch), logits(model, batch), atol=1e-2
    )
    assert fingerprint(model) == before and count_parameters(small).total < count_parameters(model).total
    assert (small.config.d_ff, small.config.num_heads) == (
        round(64 * (1 - shares["neurons"])),
        round(2 * (1 - shares["heads"])),
    )


def test_taking_out_nothing_changes_nothing(model, batch):
    assert fingerprint(smaller(model, magnitudes(model))) == fingerprint(model)


def test_it_is_saved_loaded_and_generates_like_any_t5(model, batch, tiny_tokenizer, dialogues, tmp_path):
    small = smaller(model, magnitudes(model), 0.75, 0.5)
    folder = save_compressed(small, tiny_tokenizer, tmp_path / "small")
    tokenizer, loaded = load_compressed(folder)
    assert (
        fingerprint(loaded) == fingerprint(small) and loaded.config.d_ff == 16 and loaded.encoder.config.num_heads == 1
    )
    said = [generate(each, tokenizer, dialogues, max_new_tokens=8, show_progress=False) for each in (small, loaded)]
    assert said[0] == said[1]
    saved = 4 * (count_parameters(model).total - count_parameters(small).total)
    assert file_bytes(save_compressed(model, tiny_tokenizer, tmp_path / "whole")) - file_bytes(folder) == pytest.approx(
        saved, abs=2000
    )


def test_self_attentions_of_a_stack_lose_the_same_heads_and_keep_their_bias(model):
    importance = magnitudes(model)
    for block, scores in enumerate(
        ([5.0, 1.0], [1.0, 2.0])
    ):  # the first head wins by 6 to 3, though the second layer likes the other
        importance[f"encoder.block.{block}.layer.0.SelfAttention"] = torch.tensor(scores)
    small = smaller(model, importance, heads=0.5)
    for block in range(2):
        old, new = (each.encoder.block[block].layer[0].SelfAttention for each in (model, small))
        assert torch.equal(new.v.weight, old.v.weight[:16]) and torch.equal(new.o.weight, old.o.weight[:, :16])
    bias = [each.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight for each in (model, small)]
    assert torch.equal(bias[1], bias[0][:, :1])


def test_magnitudes_ignore_a_scale_that_moves_between_the_matrices(model):
    moved = copy.deepcopy(model)
    layer = moved.encoder.block[0].layer[1].DenseReluDense
    with torch.no_grad():
        layer.wi_1.weight[3] *= 8.0
        layer.wo.weight[:, 3] /= 8.0
    assert all(torch.allclose(found, magnitudes(model)[name]) for name, found in magnitudes(moved).items())


def test_the_gradient_predicts_what_switching_off_a_little_costs(model, tiny_tokenizer):
    """Against a difference quotient: the columns of one unit made smaller by a thousandth."""
    pair = tiny_pairs(tiny_tokenizer).select([0])
    found, batch = gradient_importance(model, tiny_tokenizer, pair), Collator(0, multiple=1)([pair[0]])
    for name, index in (("encoder.block.1.layer.1.DenseReluDense", 5), ("decoder.block.0.layer.1.EncDecAttention", 1)):
        group, losses = units(model)[name], []
        for factor in (0.999, 1.001):
            changed = copy.deepcopy(model).double()
            with torch.no_grad():
                changed.get_submodule(group.out).weight.view(-1, group.count, group.width)[:, index] *= factor
                losses.append(changed(**batch).loss.item())
        assert found[name][index].item() == pytest.approx(abs(losses[1] - losses[0]) / 0.002, rel=0.02, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"neurons": 1.0}, "neurons: 1.0 is not a share"), ({"heads": 0.9}, "heads: 0.9 of 2 in encoder.* leaves none")],
)
def test_impossible_shares_are_named(model, options, named):
    with pytest.raises(ValueError, match=named):
        smaller(model, magnitudes(model), **options)
