"""A model, loaded, counted, decoded: loading, sizes, generation, sampling, T5 made faster on a processor."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
