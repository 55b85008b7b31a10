"""One application: the layers that a request passes, and the work behind it."""
