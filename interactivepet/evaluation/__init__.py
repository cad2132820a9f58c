"""Masks against reference labels: metrics of a case, summaries of a task, a fold and a simulation."""
