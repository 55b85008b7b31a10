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


def test_a_later_training_is_not_faster_than_the_first(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(PARAMS.read_bytes())
    with pytest.raises(ConfigError, match=r"retrain\.learning_rate \(0\.0001\) is above finetune\.learning_rate \(1e-05\)") as refused:
        edit_params(file, {"finetune.learning_rate": 1e-5})
    assert "got" not in str(refused.value)
    edit_params(file, {"finetune.learning_rate": 1e-5, "retrain.learning_rate": None})
    assert load_params(file).retrain.learning_rate is None


def test_a_database_without_a_password_is_taken_as_it_stands(tmp_path: Path) -> None:
    url = "postgresql+psycopg://eva@db.example:5432/traffic?sslmode=verify-full"
    assert load_params(with_log(tmp_path, url)).serve.log.url == url
