"""Showing runs to a person, in MLflow or nowhere; nothing in the project ever reads a run back."""
