"""What the notebooks record: a configuration, a command and a statistic each."""

from rlvr_lab.experiments.recorded import recorded

__all__ = ["recorded"]
