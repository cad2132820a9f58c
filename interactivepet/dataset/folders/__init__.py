"""The layouts that the field keeps volumes, masks and projections in."""
