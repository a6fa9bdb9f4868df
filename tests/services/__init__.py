"""The real servers that the suite runs against: where each comes from, how it starts, how it is shared and stopped."""
