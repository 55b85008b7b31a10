"""The artifact, its documents and its golden examples -> a Bento that `bentoml serve` answers from."""

from pathlib import Path
from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.data.text import clean_text
from evergreen.errors import EvidenceError
from evergreen.model.inference import ARTIFACT, Classifier
from evergreen.release.bento import Contents, build_bento
from evergreen.release.golden import golden
from evergreen.reports import read_report
from stages._run import home, main, say

ROOT = Path(__file__).resolve().parents[1]


def package(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Build the Bento of the model that the verdict speaks of."""
    verdict = read_report(inputs.verdict)
    classifier = Classifier.load(inputs.artifact, inputs.calibration)
    version = classifier.version
    predictions = read_table(inputs.predictions)
    for evidence, judged in ((inputs.verdict, {verdict["model_version"]}), (inputs.predictions, set(predictions["model_version"]))):
        if judged != {version}:
            raise EvidenceError(
                f"{evidence} judges model {', '.join(sorted(judged))}, but {inputs.artifact} with {inputs.calibration} is {version}; "
                "run `dvc repro`, so that what ships is what was judged"
            )
    examples = golden(
        predictions,
        precision=read_report(inputs.artifact / ARTIFACT)["precision"],
        max_characters=params.package.max_characters,
        clean=lambda text: clean_text(text, unicode_form=params.clean.unicode_form, masked=params.clean.mask)[0],
    )
    contents = Contents(
        name=params.document.name,
        version=version,
        files={
            "artifact": inputs.artifact,
            "calibration.json": inputs.calibration,
            "MODEL_CARD.md": inputs.card,
            "dossier.html": inputs.dossier,
            "metrics.json": inputs.metrics,
            "provenance.json": inputs.provenance,
        },
        reports={"golden.json": examples},
        settings={
            "name": params.document.name,
            "title": params.document.title,
            "purpose": params.document.purpose,
            "not_for": params.document.limits,
            "verdict": verdict["verdict"],
            "limits": params.package.model_dump(),
            "cleaning": params.clean.model_dump(include={"unicode_form", "mask"}),
            "serve": params.serve.model_dump(),
        },
        constraints=inputs.constraints.read_text(encoding="utf-8"),
    )
    build_bento(contents, root=ROOT, bench=home() / "package", target=outputs.bento)
    size = sum(file.stat().st_size for file in outputs.bento.rglob("*") if file.is_file())
    say(f"Bento {contents.name}:{version}, {size / 1e6:,.1f} MB, verdict {verdict['verdict']}, {len(examples['examples'])} golden examples")
    say("serve it with `make serve`; ask POST /predict, or open / in a browser")


if __name__ == "__main__":
    main(package)
