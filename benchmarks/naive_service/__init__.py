"""The service that most people would write first."""
