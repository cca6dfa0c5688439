"""Where the live dashboards of the notebooks start, and what each of their dials does, over seeds."""
