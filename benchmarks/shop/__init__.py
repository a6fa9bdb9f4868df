"""A small shop: one table that requests change, one that handlers fill, one event."""
