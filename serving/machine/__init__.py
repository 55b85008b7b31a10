"""One machine: a supervisor that owns the port and the pointer, a front that answers, workers that judge."""
