"""The instructor's room: hand out, collect, run and mark the exercise sheets of a class."""
