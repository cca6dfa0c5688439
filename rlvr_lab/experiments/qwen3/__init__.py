"""The case study of Qwen3, run small (notebook 10): one file for each experiment."""
