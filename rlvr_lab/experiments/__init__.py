"""What the notebooks record: a configuration, a command and a statistic each."""

from rlvr_lab.experiments.recorded import recorded, recorded_seeds

__all__ = ["recorded", "recorded_seeds"]
