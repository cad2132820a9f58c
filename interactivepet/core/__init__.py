"""The nouns of the project: typed, immutable, without input, output or torch."""
