"""Clean-up of a predicted mask, and the choice of the clean-up from cross-validation."""
