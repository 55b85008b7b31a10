"""A version is produced: from inputs that git pins, in a worktree, onto the branch in one step; a person's checkout stays as it was."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import yaml

from evergreen.config import load_params
from evergreen.data.sources import read_source
from evergreen.errors import PipelineError
from evergreen.monitoring import database, loop_tables, request_log
from evergreen.params_file import edit_params
from evergreen.release.ledger import Ledger
from evergreen.release.live import Place, Release
from evergreen.release.live import first as going_live
from evergreen.release.registry import Registry
from flows import champion as championship
from flows import inputs, remote, workspace
from flows.champion import champion_of
from flows.inputs import gathered
from flows.pipeline import read_pipeline
from flows.produce import Candidate, plainly, produce
from tests.factories import LABELS
from tests.log_factories import answered, labelled
from tests.loop_factories import PIPELINE, loop_project, order, quickly, wish
from tests.project_factories import copied, git

# DVC and its libraries use what others are about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]
NOW = 1_760_000_000.0  # 2025-10-09


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Candidate]:
    """Make, once, a folder that holds a project whose first version is live, and its home."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, patch)
        project = loop_project(folder / "project")
        candidate = make(project)
        go_live(project, candidate)
    return folder, candidate


@pytest.fixture
def first(begun: tuple[Path, Candidate]) -> Candidate:
    return begun[1]


@pytest.fixture
def project(begun: tuple[Path, Candidate], tmp_path: Path, home: Path) -> Path:
    """Return a copy of that project."""
    shutil.copytree(begun[0] / "home", home, dirs_exist_ok=True)
    return copied(begun[0] / "project", tmp_path / "project")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return settle(tmp_path, monkeypatch)


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have all state lie in a folder."""
    place = folder / "home"
    monkeypatch.setenv("EVERGREEN_HOME", str(place))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    for module in (workspace, remote, championship):
        monkeypatch.setattr(module, "HOME", place)
    monkeypatch.setattr(workspace, "WORKTREES", place / "worktrees")
    return place


def traffic(home: Path, rows: int = 40, **changes: object):
    """Return the engine of a request log with so many answers whose labels were told."""
    engine = database.connect(f"sqlite:///{home / 'traffic.sqlite'}")
    request_log.prepare(engine)
    loop_tables.prepare(engine)
    given = [answered(f"{LABELS[row % 4]} again, number {row}", time=NOW + 3600 * row, groups={"age_band": "60+"}) for row in range(rows)]
    request_log.insert(engine, [*given, *(labelled(row.request_id, LABELS[place % 4]) for place, row in enumerate(given))])
    return engine


def make(project: Path, **fields: object) -> Candidate:
    return produce(project, order(project, **fields), ledger=Ledger(Registry(project)), step=plainly, run=quickly, say=lambda _: None)


def retrain(project: Path, home: Path, **fields: object) -> Candidate:
    """Produce the version after the live one."""
    champion = champion_of(project)
    assert champion is not None
    params = load_params(project / "params.yaml")
    engine = traffic(home)
    rows = gathered(project, champion, plan=read_pipeline(project), params=params, engine=engine)
    engine.dispose()
    return make(project, champion=champion, gathered=rows, **fields)


def go_live(project: Path, candidate: Candidate) -> None:
    registry = Registry(project)
    registry.assign(registry.register(candidate.commit, model_version=candidate.model_version))


def test_a_first_version_is_two_commits_behind_the_code_and_two_lines_of_the_ledger(project: Path, first: Candidate) -> None:
    registry = Registry(project)
    assert registry.git.parents(first.commit) == [first.inputs]
    assert registry.git.parents(first.inputs) == [git(project, "rev-parse", "main").strip()]
    assert registry.git.is_ancestor(first.commit, registry.head() or "")
    lines = Ledger(registry).read()
    assert [(line.event, line.commit, line.model_version) for line in lines] == [
        ("candidate", first.commit, first.model_version),
        ("verdict", first.commit, first.model_version),
    ]
    assert lines[1].facts["verdict"] == "PROMOTE"
    assert lines[0].facts["champion"] is None


def test_a_persons_checkout_is_as_it_was(project: Path, home: Path) -> None:
    (project / "rows.csv").write_text("half written", encoding="utf-8")

    def seen() -> tuple[str, str, list[Path]]:
        return git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD"), sorted(project.rglob("models/*"))

    before = seen()
    retrain(project, home)
    assert seen() == before
    assert before[0] == " M rows.csv\n"
    assert list((home / "worktrees").iterdir()) == []


def test_the_data_of_a_candidate_is_at_the_remote(project: Path, first: Candidate, tmp_path: Path) -> None:
    fresh = tmp_path / "another-cache"
    got = remote.fetch(project, first.commit, "models/artifact", tmp_path / "got", cache=fresh)
    assert (got / "model.onnx").is_file()


def test_a_retraining_grows_the_data_and_names_the_champion(project: Path, first: Candidate, home: Path) -> None:
    made = retrain(project, home)
    registry = Registry(project)
    params = yaml.safe_load(registry.read("params.yaml", made.inputs) or b"")
    assert params["ingest"]["source"] == "data/source"
    assert (params["ingest"]["columns"]["split"], params["split"]["method"]) == ("split", "given")
    assert made.data is not None
    assert params["challenge"]["since"] == made.data["since"]
    assert made.data["new"] == {"train": 22, "validation": 3, "calibration": 3, "test": 12}
    assert made.challenge["champion"] == {"version": "v1.0.0", "model_version": first.model_version}
    assert made.model_version != first.model_version
    line = next(line for line in Ledger(registry).read() if line.commit == made.commit and line.event == "candidate")
    assert line.facts["data"] == made.data
    assert registry.git.parents(made.inputs)[1] == git(project, "rev-parse", "main").strip()


def test_the_commit_of_inputs_pins_data_and_champion(project: Path, home: Path, tmp_path: Path) -> None:
    made = retrain(project, home)
    remote.fetch(project, made.inputs, "data/source", tmp_path / "source")
    table = pd.concat([file.table for file in read_source(tmp_path / "source").files])
    assert len(table) == 120
    assert {*table.columns} == {"id", "text", "label", "timestamp", "age_band", "split"}
    remote.fetch(project, made.inputs, "champion/artifact", tmp_path / "artifact", cache=tmp_path / "cache")


def test_the_version_after_that_starts_from_its_rows(project: Path, home: Path) -> None:
    second = retrain(project, home)
    go_live(project, second)
    third = retrain(project, home)
    assert (second.data or {})["new"]["test"] == 12
    assert (third.data or {})["known"] == 120
    assert sum((third.data or {})["new"].values()) == 40  # answers of other ids; those before are known


def test_files_that_were_dropped_in_are_learned_from_once(project: Path, home: Path) -> None:
    (project / "incoming").mkdir()
    rows = pd.read_csv(project / "rows.csv", dtype=str).tail(20).assign(timestamp="2025-12-01")
    pd.concat([rows, rows.assign(id=[f"in{row}" for row in range(20)])]).to_csv(project / "incoming" / "december.csv", index=False)
    made = retrain(project, home)
    assert (made.data or {})["skipped"] == 20
    assert sum((made.data or {})["new"].values()) == 60


def test_a_run_that_starts_from_the_champion_says_so_in_its_settings(project: Path, first: Candidate, home: Path, tmp_path: Path) -> None:
    edit_params(project / "params.yaml", {"retrain.start": "champion", "retrain.epochs": 3, "retrain.learning_rate": 0.0005})
    wish(project, "PROMOTE")
    made = retrain(project, home)
    finetune = yaml.safe_load(Registry(project).read("params.yaml", made.inputs) or b"")["finetune"]
    assert (finetune["backbone"]["source"], finetune["backbone"]["revision"]) == ("champion/classifier", None)
    weights = remote.fetch(project, first.commit, "models/classifier", tmp_path / "weights") / "model.safetensors"
    assert finetune["backbone"]["sha256"] == sha256(weights.read_bytes()).hexdigest()
    assert (finetune["epochs"], finetune["learning_rate"]) == (3, 0.0005)


def test_a_stage_that_fails_leaves_neither_branch_nor_worktree(project: Path, home: Path) -> None:
    wish(project, "PROMOTE", breaks="gate")
    before = Registry(project).head()
    with pytest.raises(SystemExit):
        make(project)
    assert Registry(project).head() == before
    assert list((home / "worktrees").iterdir()) == []


def test_a_failed_worktree_may_be_kept_for_a_look(project: Path, home: Path) -> None:
    wish(project, "PROMOTE", breaks="gate")
    with pytest.raises(SystemExit):
        make(project, keep_worktree=True)
    workspace.sweep(project)
    (kept,) = (home / "worktrees").iterdir()
    assert (kept / "reports" / "evaluation.json").is_file()


def test_what_is_live_but_known_to_nobody_is_refused(project: Path, home: Path) -> None:
    pointed_at(home, "0123456789ab")
    with pytest.raises(PipelineError, match="model 0123456789ab is live, but it is neither a registered version"):
        champion_of(project)


def test_a_model_that_was_put_live_from_the_project_itself_is_a_champion_too(project: Path, home: Path) -> None:
    for stage in PIPELINE:
        quickly(project, stage)
    version = json.loads((project / "reports" / "evaluation.json").read_text(encoding="utf-8"))["model_version"]
    for tag in git(project, "tag").split():
        git(project, "tag", "--delete", tag)
    pointed_at(home, version)
    made = retrain(project, home)
    assert made.challenge["champion"] == {"version": "unregistered", "model_version": version}


def pointed_at(home: Path, version: str) -> None:
    """Have the service's pointer say that this model is live."""
    place = Place(home)
    place.folder.mkdir(parents=True, exist_ok=True)
    place.write(going_live(Release("x", version, "0" * 64)))


def test_an_incoming_folder_without_a_table_holds_nothing(project: Path) -> None:
    (project / "incoming").mkdir()
    (project / "incoming" / "README.md").write_text("drop files here", encoding="utf-8")
    assert inputs.dropped(project, load_params(project / "params.yaml")) == []
