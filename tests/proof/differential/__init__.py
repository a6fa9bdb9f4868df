"""Do model and code agree? Traces of the model, replayed step by step by real processes, with every state compared."""
