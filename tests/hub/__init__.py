"""Tests with the real model and the real data."""
