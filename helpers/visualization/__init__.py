"""Figures, sliders and other widgets; they draw and ask, and compute nothing themselves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
