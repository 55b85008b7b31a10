"""A database of an earlier Evergreen goes on: what has come since is added, and its rows stay as they are."""

from sqlalchemy import Engine, inspect, text

from evergreen.monitoring.loop import alerts, loop_tables, slot
from tests.alert_factories import holding, loop, raised

LATER = {"alerts": ("news", "closing"), "retrainings": ("news",)}


def aged(engine: Engine) -> None:
    """Take away what an earlier Evergreen did not have."""
    with engine.begin() as connection:
        for table, columns in LATER.items():
            for column in columns:
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))


def test_columns_that_came_later_are_added_to_tables_that_are_there(url: str) -> None:
    with loop(url) as engine:
        before = raised(engine)
        claim = holding(engine, before)
        aged(engine)
        for _ in range(2):
            loop_tables.prepare(engine)
        for table, columns in LATER.items():
            assert {*columns} <= {column["name"] for column in inspect(engine).get_columns(table)}
        assert slot.finish(engine, claim, "finished")
        assert alerts.listed(engine)[0].state == "done" and alerts.listed(engine)[0].news is None
        assert raised(engine, window="w2").news == "wanted"
