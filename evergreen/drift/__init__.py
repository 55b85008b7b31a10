"""Whether what the model meets has changed: descriptors, two-sample tests, the reference, the drift of a window."""
