"""Runs on disk, checkpoints, and statistics over seeds."""
