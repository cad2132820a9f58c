"""Networks, built from the plan."""
