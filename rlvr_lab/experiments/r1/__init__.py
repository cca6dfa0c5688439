"""The case study of DeepSeek R1, run small (notebook 08): one file for each experiment."""
