"""Train one fold: batches with clicks, augmentation, loss, loop, checkpoint."""
