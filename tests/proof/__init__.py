"""The proof: every crash point in turn (sweep), and every interleaving of a small model of the protocol (model)."""
