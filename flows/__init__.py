"""WHEN: Prefect flows and the command line. Thin: no modelling, no statistics. Starts stages through DVC alone."""
