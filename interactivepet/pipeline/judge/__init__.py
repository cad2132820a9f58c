"""The choice from cross-validation, scores against labels, and simulated users."""
