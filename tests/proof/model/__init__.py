"""The protocol as a small state machine, explored in every order of steps, with crashes and take-overs."""
