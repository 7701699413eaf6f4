"""What the benchmarks share: seconds of a call, peak memory, the machine's matrix-product rate, the work of a model, a
printed table.
"""

from __future__ import annotations

import platform
import sys
import time

import psutil
import torch


def seconds(function, *arguments):
    """(seconds, result) of one call."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def matrix_rate(size=1024, repeats=15):
    """Operations per second of a float32 matrix product, (size, size) times (size, size): the best of the repeats."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    torch.mm(left, right)
    return 2 * size**3 / min(seconds(torch.mm, left, right)[0] for _ in range(repeats))


def useful_work(model, prompt_tokens, new_tokens, operations):
    """Operations that an encoder-decoder needs at the least: so many for each weight of a matrix and each token that it
    multiplies.

    The encoder's weights and the decoder's keys and values of the prompt meet the prompt's tokens, all others the new
    ones.
    """
    work = 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            reads_prompt = name.startswith("encoder.") or name.endswith(("EncDecAttention.k", "EncDecAttention.v"))
            work += operations * module.weight.numel() * (prompt_tokens if reads_prompt else new_tokens)
    return work


def print_table(rows, width=26):
    """The rows turned on their side: one line a quantity, one column a row."""
    for name in rows[0]:
        print(f"{name:36}" + "".join(f"{row[name]!s:>{width}}" for row in rows))


def peak_bytes():
    """The most memory that this process has held."""
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return info.peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine():
    """Processor, threads and torch, for the last line."""
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
