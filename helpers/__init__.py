"""Helpers of the lab kit; data flows settings -> data, prompts -> models -> generation, metrics -> plots, widgets."""

import logging

# What torchao and bitsandbytes say when anybody imports them: that parts compiled for GPUs do not load on this computer, that a kernel is not fetched
# from the hub, that torch will change. The kit uses none of these, and there is nothing that whoever reads it could do.
SAID_AT_IMPORT = {"torchao": "Failed to load", "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
                  "torch.utils._pytree": "is an Enum subclass and is now natively supported"}

for _logger, _words in SAID_AT_IMPORT.items():
    logging.getLogger(_logger).addFilter(lambda record, words=_words: words not in record.getMessage())
