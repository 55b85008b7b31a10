"""The service under TLS, with a certificate made for the test."""

import ssl
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.release_factories import SETTINGS, bento_folder
from tests.serving.running import ROOT, running


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


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
