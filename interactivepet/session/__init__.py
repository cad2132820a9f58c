"""An image, its clicks, and what they changed."""
