"""Windows of live traffic: read, compared with what the live version was made from, told and shown."""
