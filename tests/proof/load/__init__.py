"""A steady load on the whole way, counted in three places, and a judge of what became of it."""
