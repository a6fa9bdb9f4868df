"""Publish events in the transaction that caused them, and handle each exactly as often as its effects may be applied: once."""
