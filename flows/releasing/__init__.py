"""What a release rests on: the project's ledger, what a killed release has left, and trials before a swap. No Prefect."""
