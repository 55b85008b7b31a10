"""One look of the monitor: whose traffic, what is seen in it, what is decided, and in which words and pages. No Prefect."""
