"""What the notebooks record: a configuration, a command and a statistic each."""
