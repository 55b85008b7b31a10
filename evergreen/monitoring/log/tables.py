"""Tables of ours in a database, made where they are missing: SQLite or PostgreSQL by the engine, the same code.

Columns that came later are added where they are missing; they may be null, so that an older Evergreen can go on beside this one.

Each family of tables (the request log, the monitor's history) has a name and a version of its own, kept in `evergreen_schema`.
Knows nothing of what the tables hold.
"""

from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from evergreen.errors import LogError

LOCK = 0x65766772  # any number that others hardly take: PostgreSQL's advisory lock while tables are made

schema = Table("evergreen_schema", MetaData(), Column("name", Text, primary_key=True), Column("version", Integer, nullable=False))


def prepare(engine: Engine, family: MetaData, *, name: str, version: int) -> None:
    """Make a family's tables and columns where they are missing; safe while others do so. Raise LogError for those of a newer version.

    Where they are there, the right to make tables is not needed.
    """
    if {schema.name, *family.tables} <= {*inspect(engine).get_table_names()} and not any(_missing(engine, t) for t in family.sorted_tables):
        check(engine, name=name, version=version)
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            if (encoding := connection.execute(text("SHOW server_encoding")).scalar_one()) != "UTF8":
                raise LogError(f"the database at {engine.url!r} is encoded in {encoding}; make one for the {name} with ENCODING 'UTF8'")
            connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        else:
            connection.execute(text("BEGIN IMMEDIATE"))
        for table in [schema, *family.sorted_tables]:
            connection.execute(CreateTable(table, if_not_exists=True))
            for column in _missing(connection, table):
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {CreateColumn(column).compile(dialect=engine.dialect)}"))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        connection.execute(unless_there(engine, schema), {"name": name, "version": version})
        _refuse_newer(engine, connection, name, version)


def _missing(where: Engine | Connection, table: Table) -> list[Column[Any]]:
    known = {column["name"] for column in inspect(where).get_columns(table.name)}
    return [column for column in table.columns if column.name not in known]


def check(engine: Engine, *, name: str, version: int) -> None:
    """Raise LogError where there are no tables of this family, or those of a newer version; makes nothing."""
    if not inspect(engine).has_table(schema.name):
        raise LogError(f"the database at {engine.url!r} holds no {name} yet")
    with engine.connect() as connection:
        _refuse_newer(engine, connection, name, version)


def _refuse_newer(engine: Engine, connection: Connection, name: str, version: int) -> None:
    found = connection.execute(select(schema.c.version).where(schema.c.name == name)).scalar()
    if found is None:
        raise LogError(f"the database at {engine.url!r} holds no {name} yet")
    if found > version:
        raise LogError(
            f"the {name} at {engine.url!r} was made by a newer Evergreen (its tables are version {found}, "
            f"this one knows {version}); update Evergreen, or name another database in serve.log.url of params.yaml"
        )


def unless_there(engine: Engine, table: Table) -> Any:
    """Return the INSERT that leaves a row of the same key alone; one spelling, but each dialect has its own class."""
    maker = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    return maker(table).on_conflict_do_nothing()
