"""Candidate regions of an image without any model, and which of them are normal uptake."""
