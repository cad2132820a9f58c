"""From images to lesions, measures and pages, without a click."""
