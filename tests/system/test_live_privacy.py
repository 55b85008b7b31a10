"""A thousand pieces of personal data are sent to a service that runs; none may be found in anything that it leaves behind."""

from pathlib import Path

import pytest
import sqlalchemy

from evergreen.data.personal_data import KINDS
from tests.personal_factories import planted
from tests.postgresql import Server
from tests.release_factories import SETTINGS, bento_folder
from tests.serving.running import Running, running

PLANTED = 1000
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:9/nothing?connect_timeout=1"  # a database that is away all the time


def send(service: Running, pieces: list[str]) -> None:
    """Send each piece in a text, as a group, in feedback and where nothing of the kind belongs."""
    for start in range(0, len(pieces), 3):
        some = pieces[start : start + 3]
        status, body = service.post("/predict", {"texts": [f"card {piece} please" for piece in some], "groups": {"sender": some[0]}})
        assert status == 200, body
        assert not [piece for piece in some if piece in body]
    for piece in pieces[:: len(pieces) // 20 - 1]:  # steps that meet every kind
        refused = [
            service.post("/feedback", {"request_id": piece, "label": "card"}),
            service.post("/feedback", {"request_id": "0" * 32, "label": piece}),
            service.post("/predict", {"text": "card", piece: piece}),
            service.post("/predict", {"texts": [piece, 1]}),
            service.get(f"/{piece.replace(' ', '%20')}"),
        ]
        assert all(400 <= status < 500 and piece not in body for status, body in refused)


def left_behind(service: Running, home: Path) -> dict[str, bytes]:
    """Return all that the service said and wrote, the versions that it was given aside."""
    metrics = service.get("/metrics")[1].encode()
    files = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and "releases" not in path.parts}
    return {"metrics": metrics, "console": "\n".join(service.said).encode(), **files}


def found(pieces: list[str], where: dict[str, bytes]) -> list[tuple[str, str]]:
    forms = [(piece, form) for piece in pieces for form in {piece, piece.replace(" ", ""), piece.replace("-", "")}]
    return [(piece, name) for name, content in where.items() for piece, form in forms if form.encode() in content]


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cleaning = {"unicode_form": "NFKC", "mask": list(KINDS)}
    limits = SETTINGS["limits"] | {"max_characters": 200}
    return bento_folder(tmp_path_factory.mktemp("bento") / "one", cleaning=cleaning, limits=limits)


@pytest.mark.parametrize("away", [False, True], ids=["database", "spool"])
def test_nothing_of_a_thousand_pieces_of_personal_data_is_left_behind(bento: Path, tmp_path: Path, away: bool) -> None:
    pieces, home = [piece for _, piece in planted(PLANTED)], tmp_path / "home"
    with running(home, str(bento), **({"EVERGREEN_LOG_URL": NOWHERE} if away else {})) as service:
        send(service, pieces)
        where = left_behind(service, home)
        assert service.end() == 0
        where |= {f"{name} at the end": content for name, content in left_behind(service, home).items()}
    held = b"".join(where.values())
    assert held.count(b"[EMAIL]") >= PLANTED / len(KINDS)  # the rows are there, and masked
    assert not found(pieces, where)


def test_nothing_reaches_postgresql_either(bento: Path, tmp_path: Path, postgresql: Server) -> None:
    pieces, url = [piece for _, piece in planted(PLANTED // 4)], postgresql.fresh()
    with running(tmp_path / "home", str(bento), EVERGREEN_LOG_URL=url) as service:
        send(service, pieces)
        assert service.end() == 0
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        rows = [str(tuple(row)) for row in connection.execute(sqlalchemy.text("SELECT * FROM answers"))]
    engine.dispose()
    assert len(rows) == len(pieces)
    assert not found(pieces, {"rows": "\n".join(rows).encode()})
