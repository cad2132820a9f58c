"""Folds and promptable models: trained, judged on what they never saw, and read back."""
