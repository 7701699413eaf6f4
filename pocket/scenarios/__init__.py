"""Scenarios: the hand-written text of the offline world, and the code that plays dialogues and summaries from it."""
