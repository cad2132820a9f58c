"""Joins the steps: paths, processes, and what happens in which order."""
