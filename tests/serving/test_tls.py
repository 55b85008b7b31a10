"""The service under TLS, with a certificate made for the test."""

import ssl
import urllib.request
from pathlib import Path

import yaml

from tests.certificates import certificate
from tests.release_factories import SETTINGS, bento_folder
from tests.serving.running import ROOT, running


def test_under_tls_it_answers_and_asks_browsers_to_stay_with_it(tmp_path: Path) -> None:
    bento, home = bento_folder(tmp_path / "bento"), tmp_path / "home"
    home.mkdir()
    chain, key = certificate(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["serve"] = SETTINGS["serve"] | {"tls": {"certificate": str(chain), "key": str(key)}}
    (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with running(home, str(bento)) as service:
        trusting = ssl.create_default_context(cafile=str(chain))
        with urllib.request.urlopen(f"https://127.0.0.1:{service.port}/livez", context=trusting, timeout=30) as answer:
            assert answer.status == 200
            assert "max-age" in answer.headers["strict-transport-security"]
        assert service.get("/livez") == (0, "")  # no TLS, no answer
