"""How the folds' and nnInteractive's probabilities become one mask, and how that is chosen."""
