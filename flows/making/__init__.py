"""A new version, from an alert to its end: its inputs, its run, what is kept of it. No Prefect."""
