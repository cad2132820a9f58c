"""Methods without training that clinics use: thresholds, watershed, random walker and the ellipsoid of the points."""
