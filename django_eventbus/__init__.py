"""Publish events in the transaction that caused them; apply the effects of each handler once."""
