"""nnInteractive as a segmenter, and the folders that hold its models."""
