"""Training steps written a second time, straight from their definitions, to compare the loops with."""
