"""Pages and pictures of what was trained, predicted and measured; no number is computed here."""
