"""Changing weights, and what it costs: methods, the trainer, memory, several processes, scaling laws."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
