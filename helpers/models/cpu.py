"""T5 on a processor: attention of every row at its own length, no padding; GELU in one kernel; freed memory kept."""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.activations import NewGELUActivation
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, eager_mask

NAME = "own-lengths"
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # glibc's numbers of these settings, from malloc.h
LARGEST = 32 * 2**20  # bytes; glibc takes no higher threshold for a block to come from the system by itself
LARGE = 100_000_000  # weights of a model whose freed tensors are too large to be kept


def own_lengths(module, query, key, value, attention_mask, scaling=None, dropout=0.0, position_bias=None, **_):
    """Attention in the form that transformers calls it; equal to its "sdpa" on all positions that are not padding.

    The stock way writes the bias of the relative positions and the mask into one tensor of (B, H, S, S) numbers in
    every layer; on a processor that takes longer than the products themselves. Here a row of length n takes the bias's
    upper left n × n corner as it is.

    Args:
        query, key, value: (B, H, T or S, D); attention_mask: (B, 1, 1 or T, S) as `padding_mask` makes it; None: all
            may be seen.
        position_bias: (1, H, T, S), None without one.
    Returns:
        (B, T, H, D), zero on padding, and None for the weights, which are never made.
    """
    lengths = None if module.is_decoder else _lengths(attention_mask)
    if lengths is None:
        return attend(module, query, key, value, attention_mask, scaling, dropout, position_bias)
    options = {"scale": scaling, "dropout_p": dropout if module.training else 0.0}
    output = torch.zeros_like(query)
    for row, length in enumerate(lengths):
        bias = None if position_bias is None else position_bias[:, :, :length, :length]
        parts = (states[row : row + 1, :, :length] for states in (query, key, value))
        output[row : row + 1, :, :length] = scaled_dot_product_attention(*parts, attn_mask=bias, **options)
    return output.transpose(1, 2).contiguous(), None


def attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, position_bias=None, **_):
    """The same with padding, all rows at once: what transformers' "sdpa" does, for any mask of numbers to add."""
    mask = (
        position_bias
        if attention_mask is None
        else attention_mask
        if position_bias is None
        else position_bias + attention_mask
    )
    output = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, dropout_p=dropout if module.training else 0.0
    )
    return output.transpose(1, 2).contiguous(), None


def _lengths(attention_mask):
    """Tokens of each row, where padding stands behind them and nowhere else; None for any other mask, and without
    one.
    """
    if attention_mask is None or attention_mask.shape[2] != 1:
        return None
    seen = attention_mask[:, 0, 0] == 0  # (B, S)
    behind = seen[:, 0].all() and not (seen[:, 1:] & ~seen[:, :-1]).any()
    return seen.sum(-1).tolist() if behind else None


def padding_mask(batch_size, q_length, kv_length, mask_function=None, **options):
    """transformers' mask of numbers to add; where all queries may see the same keys, one row for all: (B, 1, 1, S)."""
    rows = 1 if mask_function is bidirectional_mask_function else q_length
    return eager_mask(batch_size, rows, kv_length, mask_function=mask_function, **options)


AttentionInterface.register(NAME, own_lengths)
AttentionMaskInterface.register(NAME, padding_mask)


def fuse_gelu(model):
    """Puts torch's tanh approximation of GELU in the place of transformers' own: the same function, in one kernel
    instead of six.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def keep_freed_memory(of_any_size: bool = True) -> bool:
    """Lets the C library keep freed memory for the next tensor; elsewhere than on Linux with glibc it changes nothing.

    By default glibc hands blocks of some size back to the system at once, which gives them out again page by page, each
    filled with zeros. In generation, whose caches grow with every token, that is a quarter of the time.

    Args:
        of_any_size: False gives blocks of more than 32 MiB back as before. Kept ones leave holes that no later tensor
            fits into: while a large model trains, the process would hold far more than it needs.
    Returns:
        whether the library took the settings (glibc's mallopt: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX).
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        and mallopt(MMAP_THRESHOLD, LARGEST)
        and mallopt(MMAP_MAX, 0 if of_any_size else 65536)
    )


def prepare_for_cpu(model):
    """Makes a T5 compute the same faster on a processor; other models and models on other devices are left as they
    are.
    """
    if model.config.model_type == "t5" and model.device.type == "cpu":
        keep_freed_memory(of_any_size=model.num_parameters() < LARGE)
        model.set_attn_implementation(NAME)
        fuse_gelu(model)
    return model
