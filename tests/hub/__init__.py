"""Tests of the hub and its models: the real ones where they are asked for, and a hub of the tests themselves."""
