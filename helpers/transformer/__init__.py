"""What is inside a transformer, built and measured: tokenizers, attention, positions, objectives, families."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
