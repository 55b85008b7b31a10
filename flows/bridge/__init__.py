"""Git and DVC: what the pipeline is, how one stage is run, and whether what it finds is what it should be. No Prefect."""

REMOTE = "evergreen"  # of a project that names none of its own: a folder in EVERGREEN_HOME
DVC_LOCK = "dvc.lock"
