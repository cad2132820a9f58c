"""Volumes, arrays and JSON on disk: read, checked, and written atomically."""
