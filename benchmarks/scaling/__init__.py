"""What an event costs as the work grows: one curve for each thing that may grow."""
