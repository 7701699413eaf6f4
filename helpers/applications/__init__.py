"""A model in a program: retrieval, an agent and its tools, problems and a catalogue made by rule; a
small model that learns to solve such problems."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
