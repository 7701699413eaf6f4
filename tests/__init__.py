"""Tests: one file a module, and the notebooks' structure."""
