"""Clicks made from labels, and clicks made visible to a network."""
