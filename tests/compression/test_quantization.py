"""The arithmetic of quantization, against torchao's and against its own rules."""

import pytest
import torch
from hypothesis import given, strategies as st
from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine

from helpers.compression.quantization import (
    absmax,
    fake_quantize,
    groups_of,
    integer_range,
    pack,
    relative_error,
    unpack,
    zero_point,
)

GRANULARITIES = ("tensor", "channel", 4)


@pytest.fixture
def weight():
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * torch.logspace(-1, 1, 6)[:, None] + 0.1


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("bits", [8, 4, 3, 2])
@pytest.mark.parametrize("quantize", [absmax, zero_point])
def test_no_number_is_further_off_than_half_a_step(weight, quantize, bits, granularity):
    found = quantize(weight, bits, granularity)
    low, high = integer_range(bits)
    assert found.integers.min() >= low and found.integers.max() <= high
    allowed = found.scale * (0.5 if quantize is absmax else 1) * (1 + 1e-5)  # a zero point is rounded as well
    assert bool(((groups_of(found.dequantize() - weight, granularity)).abs() <= allowed).all())


def test_absmax_keeps_zero_and_the_largest_magnitude():
    found = absmax(torch.tensor([[0.0, 0.5, -2.0]]), 8)
    assert found.integers.tolist() == [[0, 32, -127]] and found.dequantize()[0, [0, 2]].tolist() == [0.0, -2.0]


def test_a_zero_point_uses_all_integers_where_numbers_have_one_sign():
    found = zero_point(torch.tensor([[0.0, 1.0, 3.0]]), 2)
    assert (
        found.integers.tolist() == [[-2, -1, 1]]
        and found.zero_point.tolist() == [[-2]]
        and found.dequantize().tolist() == [[0.0, 1.0, 3.0]]
    )
    assert (
        relative_error(absmax(torch.tensor([[0.0, 1.0, 3.0]]), 2).dequantize(), torch.tensor([[0.0, 1.0, 3.0]])) > 0.3
    )


@pytest.mark.parametrize("granularity", ["channel", 4])
@pytest.mark.parametrize("bits", [8, 4])
def test_the_zero_point_is_torchaos(weight, bits, granularity):
    block = (1, 8 if granularity == "channel" else granularity)
    low, high = integer_range(bits)
    scale, zero = choose_qparams_affine(
        weight, MappingType.ASYMMETRIC, block, torch.int8, low, high, zero_point_dtype=torch.int8
    )
    found = zero_point(weight, bits, granularity)
    assert torch.allclose(found.scale.flatten(), scale.flatten()) and torch.equal(
        found.zero_point.flatten(), zero.flatten()
    )
    assert torch.equal(
        found.integers.reshape(weight.shape), quantize_affine(weight, block, scale, zero, torch.int8, low, high)
    )


def test_finer_groups_lose_less(weight):
    errors = [relative_error(absmax(weight, 4, granularity).dequantize(), weight) for granularity in GRANULARITIES]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("quantize", [absmax, zero_point])
def test_a_matrix_of_zeros_stays_one(quantize):
    assert quantize(torch.zeros(2, 4), 4, "channel").dequantize().tolist() == [[0.0] * 4] * 2


def test_bytes_count_integers_scales_and_zero_points(weight):
    assert (
        absmax(weight, 8).nbytes() == 48 + 4
        and absmax(weight, 4, 4).nbytes() == 24 + 12 * 4
        and absmax(weight, 3).nbytes(2) == 18 + 2
    )
    assert zero_point(weight, 4, 4).nbytes() == 24 + 12 * 5


@pytest.mark.parametrize(
    ("granularity", "bits", "words"),
    [
        ("row", 4, '"tensor" nor "channel"'),
        (3, 4, "divides the 8 columns"),
        (0, 4, "0 is neither"),
        ("tensor", 1, "bits: 1 is not"),
        ("tensor", 9, "from 2 to 8"),
    ],
)
def test_what_cannot_be_is_refused(weight, granularity, bits, words):
    with pytest.raises(ValueError, match=words):
        absmax(weight, bits, granularity)


def test_the_gradient_goes_straight_through(weight):
    weight.requires_grad_(True)
    rounded = fake_quantize(weight, 3, 4)
    (rounded * torch.arange(48.0).reshape(6, 8)).sum().backward()
    assert torch.equal(weight.grad, torch.arange(48.0).reshape(6, 8)) and torch.equal(
        rounded, absmax(weight.detach(), 3, 4).dequantize()
    )


@given(
    st.integers(2, 8).flatmap(
        lambda bits: st.tuples(
            st.just(bits), st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), min_size=1)
        )
    )
)
def test_packed_integers_come_back(case):
    bits, values = case
    integers = torch.tensor(values, dtype=torch.int8)
    packed = pack(integers, bits)
    assert packed.dtype == torch.uint8 and len(packed) == -(-len(values) * bits // 8)
    assert torch.equal(unpack(packed, bits, integers.shape), integers)


def test_two_numbers_of_four_bits_share_a_byte():
    assert pack(torch.tensor([1, -1], dtype=torch.int8), 4).tolist() == [0xF1]
