"""What a retraining works on: the champion's rows with newly labelled ones behind them, the champion itself, and the settings.

    gathered(root, champion, params, engine) -> Gathered     the rows: the next data version, not yet on disk
    unseen(root, model_version, params, engine) -> int       how many of them would be new; None where that cannot be known
    placed_in(folder, ...) -> {path: content}                all of it in a worktree; returns what git is to keep of it

Newly labelled rows are answers whose label was told, and files in the folder `retrain.incoming` of the project, in the form of its
source. Texts of answers are masked already; files are masked by the pipeline, as ever.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.config import Params
from evergreen.data.growth import Grown, grown, laid_out, layout, placed, record
from evergreen.errors import PipelineError, RegistryError
from evergreen.params_file import edit_params
from evergreen.reports import read_report
from evergreen.sections.pipeline import SPLITS
from flows.bridge.pipeline import Pipeline
from flows.making.champion import Champion, champion_of

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Engine

    from evergreen.sections.pipeline import Clean

PARAMS = "params.yaml"
CHAMPION = Path("champion")


@dataclass(frozen=True)
class Gathered:
    """The rows of the next data version; `unseen`: how many of them no training has seen."""

    rows: Grown

    @property
    def unseen(self) -> int:
        """Number of new rows."""
        return len(self.rows.batch)


def gathered(root: Path, champion: Champion, *, params: Params, engine: "Engine") -> Gathered:
    """Return the champion's rows and the new ones. Raises an EvergreenError naming the file where a dropped one cannot be read."""
    import pandas as pd

    from evergreen.data.records import read_table
    from evergreen.monitoring.log import request_log
    from evergreen.monitoring.log.traffic import labelled

    request_log.prepare(engine)  # nothing may have been answered yet
    with tempfile.TemporaryDirectory(prefix="evergreen-rows-") as place:
        raw = read_table(champion.bring(champion.output("ingest", "raw"), Path(place) / "raw.parquet"))
        folder = champion.bring(champion.output("split", "splits"), Path(place) / "splits")
        splits = {name: read_table(folder / f"{name}.parquet", columns=["id"]) for name in SPLITS}
        path = _record_path(champion.output("ingest", "raw"))
        earlier = read_table(champion.bring(path, Path(place) / path.name)) if champion.has(path) else None
    alike = partial(_as_cleaned, params.clean)
    known, past = placed(raw, splits), record(raw, splits, earlier, alike)
    new = [labelled(engine, params.ingest.columns), *dropped(root, params)]
    if params.ingest.columns.time is None:
        known, new = (known.drop(columns="timestamp", errors="ignore"), [part.drop(columns="timestamp", errors="ignore") for part in new])
    together = pd.concat([part for part in new if len(part)] or new[:1], ignore_index=True)
    fewest = params.validate_.min_rows_per_label
    return Gathered(grown(known, together, past, settings=params.retrain, split=params.split, min_label_rows=fewest, alike=alike))


def unseen(root: Path, model_version: str, *, params: Params, engine: "Engine", say: Callable[[str], None] = print) -> int | None:
    """Return how many labelled rows the next training would take that none has seen, as that training counts them.

    None where it cannot be known: the rows of this model are not to be had from here, or a dropped file cannot be read.
    """
    try:
        champion = champion_of(root)
        if champion is None or champion.model_version != model_version:
            return None
        return gathered(root, champion, params=params, engine=engine).unseen
    except Exception as fault:  # whatever keeps rows from being counted must not keep a window from being judged: the training will say it
        say(f"how many labels are new cannot be told: {fault or type(fault).__name__}")
        return None


def _record_path(raw: Path) -> Path:
    """Return the place of the record of all rows that were ever dealt, beside the source that they are read from."""
    return raw.parent / "dealt.parquet"


def _as_cleaned(settings: "Clean", text: str) -> str:
    """Return a text as the pipeline cleans it: answers are on record like that, the source's own rows are not."""
    from evergreen.data.text import clean_text

    return clean_text(text, unicode_form=settings.unicode_form, masked=settings.mask)[0]


def dropped(root: Path, params: Params) -> "list[pd.DataFrame]":
    """Return the rows of the files that were dropped into the incoming folder, if any."""
    from evergreen.data.roles import to_examples
    from evergreen.data.sources import READERS, read_source

    folder = root / params.retrain.incoming
    if not folder.is_dir() or not any(path.suffix.lower() in READERS and not path.name.startswith(".") for path in folder.iterdir()):
        return []
    columns = params.ingest.columns.model_copy(update={"split": None})
    return [to_examples(read_source(folder), columns).drop(columns="split", errors="ignore")]


def placed_in(
    folder: Path, *, plan: Pipeline, params: Params, champion: Champion, rows: Grown, say: Callable[[str], None]
) -> dict[str, bytes]:
    """Write data, champion and settings into a worktree; return the files that belong in its commit."""
    source = plan.output("ingest", "raw").parent / "source"
    tracked = [_write_rows(folder / source, rows, params), _write_record(folder / _record_path(plan.output("ingest", "raw")), rows)]
    tracked += _place_champion(folder, champion, goes_on=_goes_on(champion, params=params, say=say))
    edit_params(folder / PARAMS, settings(params, source=source, rows=rows, weights=_weights(folder)))
    pointers = _track(folder, tracked)
    kept = [folder / PARAMS, *(folder / CHAMPION / name for name in ("champion.json", "calibration.json")), *pointers]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def settings(params: Params, *, source: Path, rows: Grown, weights: str | None) -> dict[str, Any]:
    """Return what the run's params.yaml says otherwise than the project's; `weights`: sha256 of those that training starts from."""
    columns = layout(params.ingest.columns)
    changes: dict[str, Any] = {
        "ingest.source": source.as_posix(),
        "ingest.columns.id": columns.id,
        "ingest.columns.split": columns.split,
        "split.method": "given",
        "challenge.since": rows.report["since"],
    }
    if weights is not None:
        changes["finetune.start"] = {"source": (CHAMPION / "classifier").as_posix(), "sha256": weights}
        own = {name: getattr(params.retrain, name) for name in ("members", "epochs", "learning_rate")}
        changes |= {f"finetune.{name}": value for name, value in own.items() if value is not None}
    return changes


def _goes_on(champion: Champion, *, params: Params, say: Callable[[str], None]) -> bool:
    """Say whether training goes on from the champion's weights: where it is asked for, and they were made from the same backbone."""
    if params.retrain.start != "champion":
        return False
    with tempfile.TemporaryDirectory(prefix="evergreen-training-") as place:
        made_from = read_report(champion.bring(champion.output("finetune", "report"), Path(place) / "training.json"))["backbone"]
    wanted = params.finetune.backbone
    same = (made_from["source"], made_from["revision"]) == (wanted.source, wanted.revision)
    if not same:
        say(f"{champion.version} was made from {made_from['source']}, finetune.backbone is {wanted.source}: training starts from that anew")
    return same


def _write_rows(folder: Path, rows: Grown, params: Params) -> Path:
    from evergreen.data.records import write_table

    columns = layout(params.ingest.columns)
    folder.mkdir(parents=True)
    write_table(laid_out(rows.base, columns), folder / "base.parquet")
    if len(rows.batch):
        write_table(laid_out(rows.batch, columns), folder / "new.parquet")
    return folder


def _write_record(path: Path, rows: Grown) -> Path:
    from evergreen.data.records import write_table

    write_table(rows.past, path)
    return path


def _place_champion(folder: Path, champion: Champion, *, goes_on: bool) -> list[Path]:
    """Place what the challenge stage compares with, and what training starts from; return what is too large for git."""
    place = folder / CHAMPION
    champion.bring(champion.output("calibrate", "calibration"), place / "calibration.json")
    who = {"version": champion.version, "model_version": champion.model_version}
    (place / "champion.json").write_text(json.dumps(who, indent=2) + "\n", encoding="utf-8")
    large = [champion.bring(champion.output("compress", "artifact"), place / "artifact")]
    if goes_on:
        try:
            large.append(champion.bring(champion.output("finetune", "model"), place / "classifier"))
        except RegistryError as lost:
            raise RegistryError(f"{lost}; or set retrain.start to backbone, which needs no weights of the champion") from None
    return large


def _weights(folder: Path) -> str | None:
    from hashlib import file_digest

    weights = folder / CHAMPION / "classifier" / "model.safetensors"
    if not weights.is_file():
        return None
    with weights.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _track(folder: Path, paths: list[Path]) -> list[Path]:
    """Have DVC keep folders; return the pointers that git is to keep, with the lists of what it is not to."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(folder)) as repo:
            repo.scm_context.quiet = True
            repo.add([str(path) for path in paths])
    except DvcException as fault:
        raise PipelineError(f"DVC cannot keep {', '.join(path.name for path in paths)}: {fault}") from None
    ignored = {path.with_name(".gitignore") for path in paths}
    return sorted({*(path.with_name(f"{path.name}.dvc") for path in paths), *ignored})
