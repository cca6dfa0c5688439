"""Plants faults in the package, one at a time, and asks whether the tests see them (``--help``)."""
