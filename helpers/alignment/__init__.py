"""Rewards, feedback and reinforcement: PPO with its KL penalty, reward models, rankings, constitutional AI."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
