"""Helpers of the lab kit; data flows settings -> data, prompts -> models -> generation, metrics -> plots, widgets."""
