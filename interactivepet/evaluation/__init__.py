"""Masks against reference labels: metrics, their summary, pictures and a readable report."""
