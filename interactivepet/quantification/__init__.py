"""Measures of lesions: uptake, volume, shape and spread. Pure functions with units in their names."""
