"""Numbers and how far to trust them: ROUGE and its kin, intervals, experiments, losses, claims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
