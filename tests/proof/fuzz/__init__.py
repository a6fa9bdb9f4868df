"""A fuzz run: mutated records through a real consumer, each of them judged by a reader of its own."""
