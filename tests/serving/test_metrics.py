"""What Prometheus is told."""

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.api.metrics import VERSIONS, Metrics
from serving.model.backend import About, Challenger, NotReady


def told(metrics: Metrics) -> dict[str, float]:
    page, kind = metrics.exposition()
    assert kind.startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    return {sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value for sample in samples}


def test_each_call_is_counted_under_its_labels() -> None:
    metrics = Metrics()
    metrics.request("/predict", 200, 0.004)
    metrics.request("/predict", 429, 0.001)
    metrics.refused("rate")
    for needs_person in (True, False, False):
        metrics.answered("v1", "champion", "card", needs_person, 0.02)
    metrics.batch("v1", 3)
    metrics.shadow("v2", True)
    metrics.shadow("v2", False)
    metrics.shadow_lost("v2", 4, "busy")
    metrics.failed("v1", "deadline")
    metrics.cache(True)
    metrics.feedback("corrected")
    metrics.queue(7)
    found = told(metrics)
    expected = {
        "evergreen_requests_total /predict 200": 1,
        "evergreen_requests_total /predict 429": 1,
        "evergreen_request_seconds_count /predict": 2,
        "evergreen_request_seconds_bucket 0.0025 /predict": 1,
        "evergreen_refusals_total rate": 1,
        "evergreen_predictions_total card champion v1": 3,
        "evergreen_needs_person_total champion v1": 1,
        "evergreen_answer_seconds_count champion v1": 3,
        "evergreen_batch_texts_bucket 2.0 v1": 0,
        "evergreen_batch_texts_bucket 4.0 v1": 1,
        "evergreen_shadow_answers_total yes v2": 1,
        "evergreen_shadow_answers_total no v2": 1,
        "evergreen_shadow_lost_total busy v2": 4,
        "evergreen_failures_total deadline v1": 1,
        "evergreen_cache_total yes": 1,
        "evergreen_feedback_total corrected": 1,
        "evergreen_queue_texts": 7,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_a_version_whose_texts_never_need_a_person_says_0() -> None:
    metrics = Metrics()
    metrics.answered("v1", "champion", "card", False, 0.02)
    assert told(metrics)["evergreen_needs_person_total champion v1"] == 0


def test_old_versions_leave_with_all_their_series() -> None:
    metrics = Metrics()
    for number in range(VERSIONS + 3):
        metrics.answered(f"v{number}", "champion", "card", False, 0.02)
        metrics.batch(f"v{number}", 1)
    metrics.refused("v0")  # a reason that is named like a version stays
    found = told(metrics)
    versions = {name.split()[-1] for name in found if name.startswith("evergreen_predictions_total")}
    assert versions == {f"v{number}" for number in range(3, VERSIONS + 3)}
    assert not any(name.startswith("evergreen_batch_texts") and name.endswith(" v0") for name in found)
    assert found["evergreen_refusals_total v0"] == 1
    metrics.answered("v0", "champion", "card", False, 0.02)
    assert told(metrics)["evergreen_predictions_total card champion v0"] == 1


class Log:
    def state(self) -> SimpleNamespace:
        return SimpleNamespace(
            pending=3, dropped=2, refused=5, damaged=4, spool_bytes=100, buffered_bytes=7, database_up=False, last_error="a secret"
        )


def model(version: str, **more: int) -> SimpleNamespace:
    return SimpleNamespace(about=About(version, ("a",), 0.5), **more)


def test_how_log_and_models_fare_is_asked_at_each_scrape() -> None:
    metrics, models = Metrics(), SimpleNamespace(champion=model("v1", connected=2, lost=1), challenger=None)
    metrics.watch(Log(), models)
    expected = {
        "evergreen_log_pending_rows": 3,
        "evergreen_log_dropped_rows_total": 2,
        "evergreen_log_refused_rows_total": 5,
        "evergreen_log_damaged_rows_total": 4,
        "evergreen_log_spool_bytes": 100,
        "evergreen_log_buffered_bytes": 7,
        "evergreen_log_database_up": 0,
        "evergreen_live champion v1": 1,
        "evergreen_workers v1": 2,
        "evergreen_workers_lost_total v1": 1,
    }
    found = told(metrics)
    assert {name: found.get(name) for name in expected} == expected
    assert b"secret" not in metrics.exposition()[0]
    models.champion, models.challenger = model("v2"), Challenger(model("v3"), "shadow", 0)
    found = told(metrics)
    assert [name for name in found if name.startswith("evergreen_live")] == ["evergreen_live champion v2", "evergreen_live shadow v3"]


def test_a_scrape_before_any_model_is_live_works() -> None:
    class Nobody:
        challenger = None

        @property
        def champion(self) -> None:
            raise NotReady("no model is live yet")

    metrics = Metrics()
    metrics.watch(Log(), Nobody())
    assert not any(name.startswith("evergreen_live") for name in told(metrics))


@pytest.mark.parametrize("label", ['quotes " and \\', "line\nbreak", "Kredit · größer"])
def test_any_label_of_a_model_can_be_told(label: str) -> None:
    metrics = Metrics()
    metrics.answered("v1", "champion", label, False, 0.02)
    assert told(metrics)[f"evergreen_predictions_total {label} champion v1"] == 1
