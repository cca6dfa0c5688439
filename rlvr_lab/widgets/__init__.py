"""Controls, live figures, and dashboards that drive a run."""
