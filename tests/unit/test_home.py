import pytest

from evergreen.home import traffic_url


def test_the_request_log_is_where_the_environment_says_else_the_settings_else_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    monkeypatch.delenv("EVERGREEN_LOG_URL", raising=False)
    assert traffic_url(None) == f"sqlite:///{tmp_path}/traffic.sqlite"
    assert traffic_url("sqlite:///here") == "sqlite:///here"
    monkeypatch.setenv("EVERGREEN_LOG_URL", "postgresql+psycopg://db/log")
    assert traffic_url("sqlite:///here") == "postgresql+psycopg://db/log"
