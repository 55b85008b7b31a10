"""The story of the whole loop, played by a user: `make demo`.

Everything it does, it does through commands and HTTP. Of what came of it, it asks Prefect, the service and `evergreen status`, and reads
windows, decisions, shadow answers and candidates from the project's database and ledger, through the library.
"""
