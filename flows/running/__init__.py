"""What `evergreen up` keeps running: the processes themselves, and where Prefect's server is. Speaks to it over HTTP alone."""
