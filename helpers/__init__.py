"""Helpers of the lab kit, a folder a topic; what stands in this one, everything else stands on.

The folders, from the bottom to the top: models, data, evaluation, transformer, compression, training, alignment,
applications, visualization, exercises. Each imports from itself and from those before it.
"""

import logging

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# What torchao and bitsandbytes say when anybody imports them: that parts compiled for GPUs do not load on this
# computer, that a kernel is not fetched from the hub, that torch will change. The kit uses none of these, and a
# reader could do nothing about it.
SAID_AT_IMPORT = {
    "torchao": "Failed to load",
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
}


def leave_out(said: dict[str, str]):
    """Takes messages with these words out of these loggers."""
    for name, words in said.items():
        logging.getLogger(name).addFilter(lambda record, words=words: words not in record.getMessage())


leave_out(SAID_AT_IMPORT)
