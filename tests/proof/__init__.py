"""The proof: every crash point in turn, every order of steps of a small model, and its traces on the real code."""
