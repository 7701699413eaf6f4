"""Zeros: how many, where, at whose cost; the model given stays; what they are worth on disk."""

import copy

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from helpers.compression.compressed_files import load_compressed, save_compressed
from helpers.compression.pruning import (
    GROUP,
    from_bitmap,
    has_two_of_four,
    input_norms,
    pruned,
    stored_bytes,
    to_bitmap,
    two_of_four,
    wanda,
    zeros,
)
from helpers.compression.quantized_models import linear_layers
from helpers.data.pairs import Collator
from helpers.models.generation import generate
from helpers.models.loading import head_is_tied
from helpers.run_records import fingerprint
from tests.compression.quantization_cases import wide_model
from tests.training.training_cases import tiny_pairs

MATRICES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    return wide_model(tiny_tokenizer)


def weights(model):
    return {name: model.get_submodule(name).weight for name in linear_layers(model)}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_smallest_weights_are_zero_and_the_others_as_they_were(model, scope):
    before = fingerprint(model)
    found = weights(pruned(model, 0.7, scope))
    assert fingerprint(model) == before
    everything, threshold = torch.cat([weight.flatten().abs() for weight in weights(model).values()]), None
    if scope == "global":
        threshold = everything.kthvalue(round(0.7 * len(everything))).values
    for name, weight in weights(model).items():
        cut = weight.abs().flatten().kthvalue(round(0.7 * weight.numel())).values if threshold is None else threshold
        assert torch.equal(found[name], torch.where(weight.abs() > cut, weight, 0.0))


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_the_share_of_zeros_is_what_was_asked_for(model, sparsity):
    assert (
        zeros(pruned(model, sparsity)) == pytest.approx(sparsity, abs=1e-3) == zeros(pruned(model, sparsity, "global"))
    )


def test_the_result_is_an_ordinary_model_without_masks_and_negative_zeros(model):
    small = pruned(model, 0.5)
    assert set(small.state_dict()) == set(model.state_dict()) and head_is_tied(small)
    assert all(
        isinstance(module.weight, nn.Parameter) and not module._forward_pre_hooks
        for module in map(small.get_submodule, linear_layers(small))
    )
    assert not any(torch.signbit(weight[weight == 0]).any() for weight in weights(small).values())
    assert torch.equal(small.lm_head.weight, model.lm_head.weight)


def test_only_the_named_layers_are_pruned(model):
    name = linear_layers(model)[3]
    small = pruned(model, 0.5, layers=[name])
    assert zeros(small, [name]) == 0.5 and [other for other in weights(small) if zeros(small, [other])] == [name]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((1.0,), "sparsity: 1.0 is not a share"),
        ((-0.1,), "sparsity: -0.1"),
        ((0.5, "row"), "scope: 'row' is not one of layer, global"),
    ],
)
def test_impossible_shares_and_scopes_are_named(model, options, named):
    with pytest.raises(ValueError, match=named):
        pruned(model, *options)


def test_of_every_four_neighbours_the_two_largest_stay(model):
    small = two_of_four(model)
    for name, weight in weights(model).items():
        fours, found = weight.reshape(-1, GROUP), small.get_submodule(name).weight
        kept = torch.zeros_like(fours).scatter(1, fours.abs().topk(2, dim=1).indices, 1.0)
        assert (
            torch.equal(found, (fours * kept).reshape(weight.shape))
            and has_two_of_four(found)
            and not has_two_of_four(weight)
        )
    assert zeros(small) == 0.5


def test_rows_that_are_no_fours_are_named():
    with pytest.raises(ValueError, match="0: has 6 columns, which is no whole number of fours"):
        two_of_four(nn.Sequential(nn.Linear(6, 2, bias=False)), ["0"])


def test_norms_are_those_of_what_flows_in_without_padding(model, tiny_tokenizer):
    pairs, name = tiny_pairs(tiny_tokenizer), "encoder.block.0.layer.0.SelfAttention.q"
    before = fingerprint(model)
    norms = input_norms(model, tiny_tokenizer, pairs)
    block = model.encoder.block[0].layer[0]
    with torch.no_grad():
        states = torch.cat([block.layer_norm(model.shared(torch.tensor(pair["input_ids"]))) for pair in pairs])
    assert torch.allclose(norms[name], states.norm(dim=0), rtol=1e-4) and list(norms) == linear_layers(model)
    assert fingerprint(model) == before and not any(module._forward_pre_hooks for module in model.modules())


@pytest.fixture(scope="module")
def norms(model, tiny_tokenizer):
    return input_norms(model, tiny_tokenizer, tiny_pairs(tiny_tokenizer))


def test_wanda_weighs_each_weight_by_its_own_input(model, norms):
    before = fingerprint(model)
    small, fours = wanda(model, norms, 0.75), wanda(model, norms, fours=True)
    assert fingerprint(model) == before and zeros(small) == 0.75 and zeros(fours) == 0.5
    for name, weight in weights(model).items():
        score, columns = weight.abs() * norms[name], weight.shape[1]
        kept = torch.zeros_like(score).scatter(1, score.topk(columns // 4, dim=1).indices, 1.0)
        assert torch.equal(small.get_submodule(name).weight, weight * kept + 0.0)
        assert has_two_of_four(fours.get_submodule(name).weight)


def test_torchao_takes_the_squared_norm_which_is_why_it_is_not_used(model, norms, tiny_tokenizer):
    """If this fails, torchao has changed: see whether its sparsifier can replace `wanda`."""
    from torchao.sparsity import WandaSparsifier

    copied, sparsifier = copy.deepcopy(model), WandaSparsifier(sparsity_level=0.5)
    sparsifier.prepare(copied, [{"tensor_fqn": f"{name}.weight"} for name in norms])
    with torch.no_grad():
        for pair in tiny_pairs(tiny_tokenizer):
            copied(**Collator(0, multiple=1)([pair]))
    sparsifier.step()
    sparsifier.squash_mask()
    for name, weight in weights(model).items():
        mask, agreement = copied.get_submodule(name).weight != 0, []
        for power in (1, 2):
            score = weight.abs() * norms[name] ** power
            agreement.append((mask == (score > score.median())).float().mean())
        assert agreement[1] > 0.99 and agreement[1] >= agreement[0], name


def test_a_pruned_model_is_saved_loaded_bit_for_bit_and_generates(model, tiny_tokenizer, dialogues, tmp_path):
    for number, small in enumerate((pruned(model, 0.8), two_of_four(model))):
        tokenizer, loaded = load_compressed(save_compressed(small, tiny_tokenizer, tmp_path / str(number)))
        assert fingerprint(loaded) == fingerprint(small)
        said = [generate(each, tokenizer, dialogues, max_new_tokens=8, show_progress=False) for each in (small, loaded)]
        assert said[0] == said[1]


def random_matrix(case):
    rows, columns, share, seed = case
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    return weight * (torch.rand(rows, columns, generator=generator) >= share)


@given(MATRICES)
def test_a_bitmap_and_its_values_are_the_matrix(case):
    weight = random_matrix(case)
    bits, values = to_bitmap(weight)
    assert torch.equal(from_bitmap(bits, values, weight.shape), weight)
    assert bits.dtype == torch.uint8 and bits.nbytes + values.nbytes == stored_bytes(weight)["bitmap"]


@given(MATRICES)
def test_the_bytes_of_csr_are_those_of_torch_with_32_bit_indices(case):
    weight = random_matrix(case)
    csr = weight.to_sparse_csr()
    parts = (csr.values(), csr.col_indices().int(), csr.crow_indices().int())
    assert (
        stored_bytes(weight)["CSR"] == sum(part.nbytes for part in parts)
        and stored_bytes(weight)["dense"] == weight.nbytes
    )


def test_zeros_compress_and_numbers_hardly_do():
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    sizes = [stored_bytes(weight * (weight.abs() > cut))["zlib"] / weight.nbytes for cut in (0.0, 0.7, 2.0)]
    assert sizes[0] > 0.85 and sizes == sorted(sizes, reverse=True) and sizes[2] < 0.25


def test_the_pattern_takes_half_of_the_values_and_two_bits_for_each():
    weight = torch.tensor([[1.0, 0, 0, -2] * 4] * 8)
    assert (
        stored_bytes(weight)["2:4"] == 8 * 8 * 4 + 8 * 8 * 2 // 8
        and stored_bytes(weight.bfloat16())["2:4"] / weight.bfloat16().nbytes == 9 / 16
    )
    assert "2:4" not in stored_bytes(weight + 1)
