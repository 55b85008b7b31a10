"""Git and DVC: what the pipeline is, how one stage is run, and whether what it finds is what it should be. No Prefect."""
