"""From the task's numbers to every decision: fingerprint, folds, topology, plan."""
