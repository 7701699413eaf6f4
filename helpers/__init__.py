"""Helpers of the lab kit; data flows settings -> data, prompts -> models -> generation, metrics -> plots, widgets."""

import logging

# What torchao and bitsandbytes say when anybody imports them: that parts compiled for GPUs do not load on this
# computer, that a kernel is not fetched
# from the hub, that torch will change. The kit uses none of these, and there is nothing that whoever reads it could do.
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
