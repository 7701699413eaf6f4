"""Quantization by hand: numbers as small integers, with a scale and a zero point for each group; rounding that
gradients pass; packed bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Quantized:
    """A matrix as integers: weight ≈ scale · (integers − zero_point).

    Attributes:
        integers: (G, S) int8, a row for each group of numbers that share a scale; scale, zero_point: (G, 1).
        bits: of one integer; shape: of the matrix.
    """

    integers: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor
    bits: int
    shape: torch.Size

    def dequantize(self) -> torch.Tensor:
        """The matrix in floating point again, with what rounding has left of it."""
        return (self.scale * (self.integers.to(torch.int16) - self.zero_point)).reshape(
            self.shape
        )  # int8 would overflow

    def nbytes(self, scale_bytes: int = 4) -> int:
        """Bytes with the integers packed; a zero point that is not 0 counts one."""
        return -(-self.integers.numel() * self.bits // 8) + len(self.scale) * (
            scale_bytes + int(bool(self.zero_point.any()))
        )


def groups_of(weight: torch.Tensor, granularity: str | int) -> torch.Tensor:
    """(G, S): the numbers of a matrix, in rows that share a scale.

    Args:
        granularity: "tensor": all of it; "channel": one row of the matrix, an output of the layer; a number: so many
            neighbours in a row.
    Raises:
        ValueError: another word, or a group that does not divide the rows.
    """
    if granularity == "tensor":
        return weight.reshape(1, -1)
    if granularity == "channel":
        return weight.reshape(len(weight), -1)
    if not isinstance(granularity, int) or granularity < 1 or weight.shape[-1] % granularity:
        raise ValueError(
            f'granularity: {granularity!r} is neither "tensor" nor "channel" nor a number that divides the '
            f"{weight.shape[-1]} columns"
        )
    return weight.reshape(-1, granularity)


def integer_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer of so many bits, with a sign.

    Raises:
        ValueError: fewer than 2 bits (there would be no sign left), or more than 8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits: {bits!r} is not a whole number from 2 to 8")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def absmax(weight: torch.Tensor, bits: int = 8, granularity: str | int = "tensor") -> Quantized:
    """Symmetric quantization: the largest magnitude of a group becomes the largest integer, and 0 stays 0.

    Source: Dettmers et al. 2022, section 2.1.
    """
    groups, largest = groups_of(weight, granularity), integer_range(bits)[1]
    scale = groups.abs().amax(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / largest
    return Quantized(
        (groups / scale).round().to(torch.int8), scale, torch.zeros_like(scale, dtype=torch.int8), bits, weight.shape
    )


def zero_point(weight: torch.Tensor, bits: int = 8, granularity: str | int = "tensor") -> Quantized:
    """Asymmetric quantization: a group's smallest and largest number become the smallest and largest integer; some
    integer means 0 exactly.

    Source: Jacob et al. 2018, section 2.1.
    """
    groups, (low, high) = groups_of(weight, granularity), integer_range(bits)
    least, most = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True).clamp(min=0)
    scale = ((most - least) / (high - low)).clamp(min=torch.finfo(weight.dtype).tiny)
    zero = (low - (least / scale).round()).clamp(low, high)
    return Quantized(
        ((groups / scale).round() + zero).clamp(low, high).to(torch.int8),
        scale,
        zero.to(torch.int8),
        bits,
        weight.shape,
    )


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Root of the squared error over that of the squared values: 0 is exact, 1 is as good as zeros."""
    return ((found - wanted).norm() / wanted.norm()).item()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, bits, granularity):
        return absmax(weight, bits, granularity).dequantize()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None, None


def fake_quantize(weight: torch.Tensor, bits: int, granularity: str | int) -> torch.Tensor:
    """The weight as quantization leaves it, in floating point; backwards as if nothing had been rounded.

    Rounding is flat nearly everywhere, its gradient 0: nothing would ever be learned. The straight-through estimator
    takes 1 instead.
    Source: Bengio et al. 2013, section 4.
    """
    return _StraightThrough.apply(weight, bits, granularity)


def pack(integers: torch.Tensor, bits: int) -> torch.Tensor:
    """Signed integers of so many bits, one behind the other in a row of bytes: (-(-numel · bits // 8),) uint8."""
    places = torch.arange(bits, dtype=torch.uint8)
    stream = (integers.reshape(-1, 1).view(torch.uint8) >> places & 1).flatten()  # lowest bit first
    stream = torch.nn.functional.pad(stream, (0, -len(stream) % 8)).reshape(-1, 8)
    return (stream << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(packed: torch.Tensor, bits: int, shape) -> torch.Tensor:
    """What `pack` was given: int8 of the given shape."""
    stream = (packed.reshape(-1, 1) >> torch.arange(8, dtype=torch.uint8) & 1).flatten()
    count = torch.Size(shape).numel()
    values = (stream[: count * bits].reshape(count, bits).to(torch.int16) << torch.arange(bits, dtype=torch.int16)).sum(
        1
    )
    return torch.where(values >= 2 ** (bits - 1), values - 2**bits, values).to(torch.int8).reshape(torch.Size(shape))
