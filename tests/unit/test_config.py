"""A fault of params.yaml is told with its place and value, but never a secret."""

from pathlib import Path

import pytest

from evergreen.config import load_params
from evergreen.errors import ConfigError
from evergreen.params_file import edit_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


def with_log(folder: Path, url: str) -> Path:
    file = folder / "params.yaml"
    file.write_bytes(PARAMS.read_bytes())
    edit_params(file, {"serve.log.url": url})
    return file


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://eva:hunter2@db/traffic", "postgresql+psycopg://db/traffic?user=eva&password=hunter2"]
)
def test_a_password_in_params_yaml_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.log\.url: .*holds a password.* set EVERGREEN_LOG_URL") as refused:
        load_params(with_log(tmp_path, url))
    assert "hunter2" not in str(refused.value)


def test_a_database_without_a_password_is_taken_as_it_stands(tmp_path: Path) -> None:
    url = "postgresql+psycopg://eva@db.example:5432/traffic?sslmode=verify-full"
    assert load_params(with_log(tmp_path, url)).serve.log.url == url
