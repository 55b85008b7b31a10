from pathlib import Path

import pytest

from evergreen.access import FILE, KeyRing
from flows.__main__ import main
from flows.commands import keys


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keys, "HOME", tmp_path)
    return tmp_path


def test_create_prints_the_key_alone_and_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "billing", "--may", "feedback,predict"])
    said = capsys.readouterr()
    key = KeyRing(home / FILE).check(said.out.strip())
    assert (key.name, key.may) == ("billing", ("predict", "feedback"))
    main(["keys", "list"])
    shown = capsys.readouterr().out
    assert key.id in shown and "billing" in shown
    assert said.out.strip().split("_", 2)[2] not in said.err + shown


def test_a_revoked_key_no_longer_opens(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "billing"])
    shown = capsys.readouterr().out.strip()
    main(["keys", "revoke", shown.split("_")[1]])
    assert "revoked" in capsys.readouterr().out
    assert KeyRing(home / FILE).check(shown) is None


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["revoke", "0"], "no keys at all"),
        (["create", ""], "1 to 64 letters"),
        (["create", "a", "--may", "rule"], "unknown permission 'rule'"),
    ],
)
def test_what_cannot_be_is_one_clear_message(arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments])
    assert ended.value.code != 0
    assert what in capsys.readouterr().err


def test_an_empty_list_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "list"])
    assert "evergreen keys create NAME" in capsys.readouterr().out
