"""Nothing leaves the machine while the pipeline runs."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.project_factories import ROOT, command
from tests.system.network import NO_NETWORK, attempts, guarded, watched

FIND = """
from pathlib import Path
from evergreen.config import load_params
from evergreen.model import backbone
given = load_params(Path("params.yaml")).finetune.backbone
found = backbone.find(given.source, revision=given.revision, expected=given.sha256, allow_download=given.allow_download)
backbone.load_tokenizer(found.folder)
backbone.load_model(found, labels=["a", "b"], source=given.source)
print(found.place, found.weights_sha256 == given.sha256)
"""
needs_namespace = pytest.mark.skipif(not NO_NETWORK, reason="this system lets nobody make a network namespace")


def test_no_stage_of_the_pipeline_tries_to_reach_a_network(finished: Path) -> None:
    seen = watched(finished)
    assert all(f"stages.{stage} " in seen for stage in yaml.safe_load((finished / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    assert attempts(finished) == []


@needs_namespace
def test_the_pipeline_needs_no_network(finished: Path) -> None:
    """The fixture ran it where the kernel shows no network; here the same place is seen to have none."""
    probe = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    assert "Network is unreachable" in command(finished, *NO_NETWORK, sys.executable, "-c", probe, check=False).stderr
    assert (finished / "build" / "bento").is_dir()


@needs_namespace
def test_the_default_backbone_comes_from_its_package_where_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    variables = guarded(project)
    variables["PYTHONPATH"] += f":{ROOT}"
    done = command(project, *NO_NETWORK, sys.executable, "-c", FIND, **variables)
    assert done.stdout.strip() == "an installed package True"
    assert attempts(project) == []


def test_the_guard_refuses_and_notes_what_leaves_this_machine(tmp_path: Path) -> None:
    variables = guarded(tmp_path)
    tries = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as fault: print(fault)"
    assert "192.0.2.1 is not this machine" in command(tmp_path, sys.executable, "-c", tries, **variables).stdout
    assert "refused socket.getaddrinfo 192.0.2.1" in attempts(tmp_path)[0]
