"""Masks of new images, all at once or click by click, and masks in other formats."""
