"""ANSWERS: the BentoML service. Imports only what inference needs."""
