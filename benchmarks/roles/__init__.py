"""The processes that are measured, each in its own interpreter: asked through standard input, see children.py."""
