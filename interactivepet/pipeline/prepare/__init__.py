"""From other people's files to preprocessed cases: import, verification, clicks, fingerprint, folds, plan."""
