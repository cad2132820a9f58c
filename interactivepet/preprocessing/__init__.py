"""From a raw case to what networks see, and back to the scanner's grid."""
