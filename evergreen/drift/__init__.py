"""Whether what the model meets has changed: descriptors, two-sample tests, the reference, the drift of a window, and what it costs.

How a window of live traffic is judged:

    reference = Reference.load(folder)                      # evergreen.drift.reference; what the snapshot stage wrote
    table = distinct(table)                                 # evergreen.drift.rows; the reference holds each text once
    rows = look(table, classifier, reference.train, reference.categories)     # evergreen.drift.rows; table: text, group_<name> ...
    facts["drift"] = judge(reference, rows, number=number, settings=params.monitor, earlier=[...])    # evergreen.drift.alarms
    facts["estimate"] = estimate(reference, rows.probabilities, level=0.95, seed=params.monitor.seed)  # evergreen.drift.estimate

`earlier` are the rows of the `params.monitor.pooled - 1` windows before, the newest last. `reference.model_version` says whose reference
it is, `reference.digest` names its content, `reference.train` and `reference.own` count the texts that use each word.
"""
