from pathlib import Path

import pytest

from evergreen import home
from evergreen.errors import ReleaseError
from evergreen.home import traffic_url


def test_the_request_log_is_where_the_environment_says_else_the_settings_else_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    monkeypatch.delenv("EVERGREEN_LOG_URL", raising=False)
    assert traffic_url(None) == f"sqlite:///{tmp_path}/traffic.sqlite"
    assert traffic_url("sqlite:///here") == "sqlite:///here"
    monkeypatch.setenv("EVERGREEN_LOG_URL", "postgresql+psycopg://db/log")
    assert traffic_url("sqlite:///here") == "postgresql+psycopg://db/log"


def test_a_home_is_settled_from_where_the_command_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", "state")
    assert home.settle(tmp_path, outside=tmp_path / "bento") == tmp_path / "state" == home.home()
    monkeypatch.setenv("EVERGREEN_HOME", "/elsewhere")
    assert home.settle(tmp_path, outside=tmp_path / "bento") == Path("/elsewhere")


def test_a_home_inside_the_bento_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", "")
    with pytest.raises(ReleaseError, match="inside the Bento that is served; set it to a folder elsewhere"):
        home.settle(tmp_path / "bento" / "src", outside=tmp_path / "bento")
