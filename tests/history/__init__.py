"""Long runs in which processes are killed and frozen at random, and what they must not have done."""
