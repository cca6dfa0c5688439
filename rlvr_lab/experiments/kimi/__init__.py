"""The case study of Kimi k1.5, run small (notebook 09): one file for each experiment."""
