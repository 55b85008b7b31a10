"""`evergreen signer`, `sign` and `verify`, one after the other, as a person would use them."""

from pathlib import Path

import pytest

from flows.__main__ import main
from flows.commands import signing
from tests.release_factories import bento_folder


def test_a_bento_is_signed_trusted_verified_and_refused_once_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signing, "SIGNING", tmp_path / "signing")
    monkeypatch.setattr(signing, "TRUSTED", tmp_path / "trusted")
    bento = bento_folder(tmp_path / "bento")
    main(["verify", str(bento)])
    assert "no signature was asked for" in capsys.readouterr().out
    main(["signer", "create"])
    main(["signer", "show"])
    shown = capsys.readouterr().out
    assert "BEGIN PUBLIC KEY" in shown
    assert "PRIVATE" not in shown
    main(["signer", "trust", str(tmp_path / "signing" / "release.pub")])
    with pytest.raises(SystemExit):
        main(["verify", str(bento)])
    assert "is not signed" in capsys.readouterr().err
    main(["sign", str(bento)])
    main(["verify", str(bento)])
    assert "is as it was built; signed by release" in capsys.readouterr().out
    (bento / "src" / "golden.json").write_text("{}", encoding="utf-8")
    for words in (["verify", str(bento)], ["sign", str(bento)]):
        with pytest.raises(SystemExit):
            main(words)
        assert "changed: src/golden.json" in capsys.readouterr().err
