"""Classifier -> the ONNX artifact that ships, refused when it does not answer as the classifier does."""

from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.model import backbone, environment, export
from evergreen.model.inference import MODEL
from evergreen.reports import write_report
from stages._run import main, say


def compress(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Export `model` to `artifact`, compare both on validation rows, time single texts."""
    settings = params.compress
    environment.fix(threads=settings.threads, seed=params.finetune.seed)
    model = backbone.load_trained(inputs.model)
    tokenizer = backbone.load_tokenizer(inputs.model)
    described = export.write_artifact(
        model,
        tokenizer,
        outputs.artifact,
        precision=settings.precision,
        max_tokens=params.finetune.max_tokens,
        threads=settings.threads,
    )
    size = (outputs.artifact / MODEL).stat().st_size
    say(f"model.onnx · {settings.precision} · {size / 1e6:.1f} MB · artifact {described['version']}")
    texts = read_table(inputs.splits / "validation.parquet", columns=["text"])["text"].tolist()
    shipped = export.uncalibrated(outputs.artifact)
    found = export.parity(model, shipped, texts[: settings.parity_rows])
    bounds = {"max_logit_difference": settings.max_logit_difference, "min_label_agreement": settings.min_label_agreement}
    export.check_parity(found, **bounds)
    say(f"same answers as the trained model on {found['rows']:,} rows: labels agree on {found['label_agreement']:.1%}, "
        f"largest logit difference {found['max_logit_difference']:.2g}")  # fmt: skip
    requests = [texts[place % len(texts)] for place in range(settings.latency_requests)]
    timed = export.latency(shipped, requests)
    median, slow = timed["p50_milliseconds"], timed["p95_milliseconds"]
    say(f"one text: {median:.1f} ms median, {slow:.1f} ms 95th percentile, on {settings.threads} threads")
    report = {"precision": settings.precision, "bytes": size, **found, "bounds": bounds, "opset": described["opset"],
              "sha256": described["sha256"][MODEL], "version": described["version"]}  # fmt: skip
    write_report(report, outputs.report)
    write_report({**timed, "threads": settings.threads}, outputs.latency)


if __name__ == "__main__":
    main(compress)
