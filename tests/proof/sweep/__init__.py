"""Kill a process at every statement and every broker call in turn, and see whether its successor puts all right."""
