"""A version is produced: from inputs that git pins, in a worktree, onto the branch in one step; a person's checkout stays as it was."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evergreen.config import load_params
from evergreen.data.records import read_table
from evergreen.data.sources import read_source
from evergreen.errors import PipelineError, RegistryError
from evergreen.params_file import edit_params
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from flows.bridge import remote, workspace
from flows.bridge.pipeline import Pipeline
from flows.making import inputs
from flows.making.champion import Champion, champion_of
from flows.making.produce import Candidate, of_another_commit
from tests.loop_factories import PIPELINE, quickly, wish
from tests.loop_runs import follow, go_live, make, pointed_at, told
from tests.project_factories import git, parents

# DVC and its libraries use what others are about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_a_first_version_is_two_commits_behind_the_code_and_two_lines_of_the_ledger(looped: Path, loop_first: Candidate) -> None:
    registry = Registry(looped)
    assert parents(registry.git.root, loop_first.commit) == [loop_first.inputs]
    assert parents(registry.git.root, loop_first.inputs) == [git(looped, "rev-parse", "main").strip()]
    assert registry.git.is_ancestor(loop_first.commit, registry.head() or "")
    lines = Ledger(registry).read()
    assert [(line.event, line.commit, line.model_version) for line in lines] == [
        ("candidate", loop_first.commit, loop_first.model_version),
        ("verdict", loop_first.commit, loop_first.model_version),
    ]
    assert lines[1].facts["verdict"] == "PROMOTE"
    assert lines[0].facts["champion"] is None


def test_a_persons_checkout_is_as_it_was(looped: Path, loop_home: Path) -> None:
    (looped / "rows.csv").write_text("half written", encoding="utf-8")

    def seen() -> tuple[str, str, list[Path]]:
        return git(looped, "status", "--porcelain"), git(looped, "rev-parse", "HEAD"), sorted(looped.rglob("models/*"))

    before = seen()
    follow(looped, loop_home)
    assert seen() == before
    assert before[0] == " M rows.csv\n"
    assert list((loop_home / "worktrees").iterdir()) == []


def test_the_data_of_a_candidate_is_at_the_remote(looped: Path, loop_first: Candidate, tmp_path: Path) -> None:
    fresh = tmp_path / "another-cache"
    got = remote.fetch(looped, loop_first.commit, "models/artifact", tmp_path / "got", cache=fresh)
    assert (got / "model.onnx").is_file()


def test_a_retraining_grows_the_data_and_names_the_champion(looped: Path, loop_first: Candidate, loop_home: Path) -> None:
    made = follow(looped, loop_home)
    registry = Registry(looped)
    params = yaml.safe_load(registry.read("params.yaml", made.inputs) or b"")
    assert params["ingest"]["source"] == "data/source"
    assert (params["ingest"]["columns"]["split"], params["split"]["method"]) == ("split", "given")
    assert made.data is not None
    assert params["challenge"]["since"] == made.data["since"]
    assert made.data["new"] == {"train": 22, "validation": 3, "calibration": 3, "test": 12}
    assert made.challenge["champion"] == {"version": "v1.0.0", "model_version": loop_first.model_version}
    assert made.model_version != loop_first.model_version
    line = next(line for line in Ledger(registry).read() if line.commit == made.commit and line.event == "candidate")
    assert line.facts["data"] == made.data
    assert parents(registry.git.root, made.inputs)[1] == git(looped, "rev-parse", "main").strip()


def test_the_commit_of_inputs_pins_data_and_champion(looped: Path, loop_home: Path, tmp_path: Path) -> None:
    made = follow(looped, loop_home)
    remote.fetch(looped, made.inputs, "data/source", tmp_path / "source")
    table = pd.concat([file.table for file in read_source(tmp_path / "source").files])
    assert len(table) == 120
    assert {*table.columns} == {"id", "text", "label", "timestamp", "age_band", "split"}
    remote.fetch(looped, made.inputs, "champion/artifact", tmp_path / "artifact", cache=tmp_path / "cache")


def test_the_version_after_that_starts_from_its_rows(looped: Path, loop_home: Path) -> None:
    second = follow(looped, loop_home)
    go_live(looped, second)
    third = follow(looped, loop_home)
    assert (second.data or {})["new"]["test"] == 12
    assert (third.data or {})["known"] == 120
    assert sum((third.data or {})["new"].values()) == 40  # answers of other ids; those before are known


def test_rows_that_a_version_leaves_out_are_on_its_record_and_not_new_again(looped: Path, loop_home: Path, tmp_path: Path) -> None:
    edit_params(looped / "params.yaml", {"retrain.rehearsal_rows": 10})
    wish(looped, "PROMOTE")
    for _ in range(2):
        made = follow(looped, loop_home)
        go_live(looped, made)
    assert (made.data or {})["left_out"] == 22  # ten rows to rehearse and 22 new ones made up its champion's training
    made = follow(looped, loop_home)
    assert sum((made.data or {})["new"].values()) == 40
    table = read_table(remote.fetch(looped, made.inputs, "data/dealt.parquet", tmp_path / "dealt.parquet"))
    assert len(table) == 200 and {*table["split"]} == {"train", "validation", "calibration", "test"}


def test_files_that_were_dropped_in_are_learned_from_once(looped: Path, loop_home: Path) -> None:
    (looped / "incoming").mkdir()
    rows = pd.read_csv(looped / "rows.csv", dtype=str).tail(20).assign(timestamp="2025-12-01")
    fresh = rows.assign(id=[f"in{row}" for row in range(20)], text=rows["text"] + " in december")
    pd.concat([rows, fresh]).to_csv(looped / "incoming" / "december.csv", index=False)
    made = follow(looped, loop_home)
    assert (made.data or {})["skipped"] == 20
    assert sum((made.data or {})["new"].values()) == 60


@pytest.mark.parametrize("time", ["timestamp", None])
def test_the_policy_counts_as_new_what_a_training_takes_and_nothing_after_it(time: str | None, looped: Path, loop_home: Path) -> None:
    edit_params(looped / "params.yaml", {"ingest.columns.time": time})
    wish(looped, "PROMOTE")
    (looped / "incoming").mkdir()
    rows = pd.read_csv(looped / "rows.csv", dtype=str).tail(20)
    fresh = rows.assign(id=[f"in{row}" for row in range(20)], text=rows["text"] + " once more", timestamp="2024-01-01")  # older than all
    pd.concat([rows, fresh]).to_csv(looped / "incoming" / "more.csv", index=False)
    assert counted(looped, loop_home) == 20
    made = follow(looped, loop_home)
    assert sum((made.data or {})["new"].values()) == 60
    assert counted(looped, loop_home) == 60  # it is not live yet
    go_live(looped, made)
    assert counted(looped, loop_home) == 0


def test_where_the_rows_of_the_live_model_are_not_to_be_had_nobody_knows_what_is_new(looped: Path, loop_home: Path, tmp_path: Path) -> None:
    with told(loop_home, rows=3) as engine:
        params = load_params(looped / "params.yaml")
        assert inputs.unseen(looped, "0123456789ab", params=params, engine=engine) is None
        assert inputs.unseen(tmp_path, "0123456789ab", params=params, engine=engine) is None


def test_what_keeps_rows_from_being_counted_keeps_no_window_from_being_judged(
    looped: Path, loop_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("md5")

    monkeypatch.setattr(inputs, "gathered", broken)
    live, said = champion_of(looped), []
    assert live is not None
    with told(loop_home, rows=3) as engine:
        params = load_params(looped / "params.yaml")
        assert inputs.unseen(looped, live.model_version, params=params, engine=engine, say=said.append) is None
    assert said == ["how many labels are new cannot be told: 'md5'"]


def counted(project: Path, home: Path) -> int | None:
    """Return how many labelled rows the monitor calls new."""
    live = champion_of(project)
    assert live is not None
    with told(home, rows=0) as engine:
        return inputs.unseen(project, live.model_version, params=load_params(project / "params.yaml"), engine=engine)


def test_a_run_that_starts_from_the_champion_says_so_in_its_settings(
    looped: Path, loop_first: Candidate, loop_home: Path, tmp_path: Path
) -> None:
    edit_params(looped / "params.yaml", {"retrain.members": 2, "retrain.epochs": 4, "retrain.learning_rate": 0.0001})
    wish(looped, "PROMOTE")
    made = follow(looped, loop_home)
    before, finetune = load_params(looped / "params.yaml").finetune, finetune_of(looped, made)
    weights = remote.fetch(looped, loop_first.commit, "models/classifier", tmp_path / "weights") / "model.safetensors"
    assert finetune["start"] == {"source": "champion/classifier", "sha256": sha256(weights.read_bytes()).hexdigest()}
    assert finetune["backbone"] == before.backbone.model_dump()
    assert (finetune["members"], finetune["epochs"], finetune["learning_rate"]) == (2, 4, 0.0001)


def test_a_run_that_starts_from_the_backbone_trains_as_a_first_version_does(looped: Path, loop_home: Path) -> None:
    edit_params(looped / "params.yaml", {"retrain.start": "backbone"})
    wish(looped, "PROMOTE")
    assert finetune_of(looped, follow(looped, loop_home)) == load_params(looped / "params.yaml").finetune.model_dump()


def test_another_backbone_is_started_from_although_there_is_a_champion(looped: Path, loop_home: Path) -> None:
    edit_params(looped / "params.yaml", {"finetune.backbone.source": "somebody/another-backbone"})
    wish(looped, "PROMOTE")
    said: list[str] = []
    made = follow(looped, loop_home, say=said.append)
    assert finetune_of(looped, made) == load_params(looped / "params.yaml").finetune.model_dump()
    assert any("finetune.backbone is somebody/another-backbone: training starts from that anew" in line for line in said)


def test_weights_that_are_lost_leave_a_way_out(
    looped: Path, loop_first: Candidate, loop_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Champion, path: Path, target: Path) -> Path:
        if path == Path("models/classifier"):
            raise RegistryError("models/classifier is nowhere")
        return brought(_, path, target)

    brought = Champion.bring
    monkeypatch.setattr(Champion, "bring", lost)
    with pytest.raises(RegistryError, match=r"models/classifier is nowhere; or set retrain.start to backbone"):
        follow(looped, loop_home)


def finetune_of(project: Path, made: Candidate) -> dict[str, Any]:
    """Return the section that a run trained by."""
    section: dict[str, Any] = yaml.safe_load(Registry(project).read("params.yaml", made.inputs) or b"")["finetune"]
    return section


def test_a_stage_that_fails_leaves_neither_branch_nor_worktree(looped: Path, loop_home: Path) -> None:
    wish(looped, "PROMOTE", breaks="gate")
    before = Registry(looped).head()
    with pytest.raises(SystemExit):
        make(looped)
    assert Registry(looped).head() == before
    assert list((loop_home / "worktrees").iterdir()) == []


def test_a_failed_worktree_may_be_kept_for_a_look(looped: Path, loop_home: Path) -> None:
    wish(looped, "PROMOTE", breaks="gate")
    with pytest.raises(SystemExit):
        make(looped, keep_worktree=True)
    workspace.sweep(looped)
    (kept,) = (loop_home / "worktrees").iterdir()
    assert (kept / "reports" / "evaluation.json").is_file()


def test_what_is_live_but_known_to_nobody_is_refused(looped: Path, loop_home: Path) -> None:
    pointed_at(loop_home, "0123456789ab")
    with pytest.raises(PipelineError, match="model 0123456789ab is live, but it is neither a registered version"):
        champion_of(looped)


def test_a_model_that_was_put_live_from_the_project_itself_is_a_champion_too(looped: Path, loop_home: Path) -> None:
    for stage in PIPELINE:
        quickly(looped, stage)
    version = json.loads((looped / "reports" / "evaluation.json").read_text(encoding="utf-8"))["model_version"]
    for tag in git(looped, "tag").split():
        git(looped, "tag", "--delete", tag)
    pointed_at(loop_home, version)
    made = follow(looped, loop_home)
    assert made.challenge["champion"] == {"version": "unregistered", "model_version": version}


def test_an_incoming_folder_without_a_table_holds_nothing(looped: Path) -> None:
    (looped / "incoming").mkdir()
    (looped / "incoming" / "README.md").write_text("drop files here", encoding="utf-8")
    assert inputs.dropped(looped, load_params(looped / "params.yaml")) == []


def test_a_record_restored_from_another_commits_run_is_written_anew(tmp_path: Path) -> None:
    plan = Pipeline(["document"], {"document": {"provenance": Path("provenance.json")}})

    def told(commit: str | None) -> bool:
        (tmp_path / "provenance.json").write_text(json.dumps({"code": {"commit": commit, "dirty": False}}), encoding="utf-8")
        return of_another_commit(tmp_path, plan, "document", "a" * 40)

    assert told("b" * 40)
    assert not told("a" * 40)
    assert not told(None)  # where there is no git, nothing can be said
    assert not of_another_commit(tmp_path, plan, "package", "a" * 40)
