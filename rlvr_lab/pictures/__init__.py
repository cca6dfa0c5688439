"""Pictures: metrics in, one figure out, ``plot_x(data, ax=None) -> Axes``."""

from rlvr_lab.pictures.names import find_name as __getattr__
from rlvr_lab.pictures.names import list_names as __dir__
