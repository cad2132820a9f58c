"""Train a promptable network: simulated users place points, boxes, scribbles and lassos on its errors."""
