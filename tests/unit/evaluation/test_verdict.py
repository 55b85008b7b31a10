import math

import pytest

from evergreen.evaluation.rules import CHECKS
from evergreen.evaluation.verdict import judge
from evergreen.sections.gate import Rules
from tests.gate_factories import RULES, first_version, good_reports, measured, rules, spoilt

WORSE = {
    "beats_baseline": ("metrics.lead.macro_f1.low", -0.01),
    "macro_f1": ("metrics.macro_f1.value", 0.74),
    "worst_group": ("audit.worst_group.accuracy.value", 0.69),
    "fairness_gap": ("audit.largest_gap.difference.high", 0.21),
    "calibration": ("metrics.ece.value", 0.11),
    "parity": ("compression.label_agreement", 0.97),
    "artifact_size": ("compression.bytes", 500_000_001),
    "latency": ("latency.p95_milliseconds", 250.1),
    "no_worse": ("challenge.new.difference", {"value": -0.05, "low": -0.07, "high": -0.03}),
    "remembers": ("challenge.old.difference", {"value": -0.05, "low": -0.07, "high": -0.04}),
    "negative_flips": ("challenge.all.negative_flips.value", 0.061),
    "no_slice_worse": ("challenge.worst_slice.difference", {"value": -0.1, "low": -0.2, "high": -0.06}),
}
COMPARED = ("no_worse", "remembers", "negative_flips", "no_slice_worse")


def outcome(verdict: dict, rule: str) -> dict:
    return next(entry for entry in verdict["rules"] if entry["rule"] == rule)


def test_every_rule_of_the_schema_is_judged() -> None:
    assert {check.rule for check in CHECKS} == set(Rules.model_fields) == set(WORSE)


def test_a_model_that_keeps_every_rule_is_promoted() -> None:
    verdict = judge(rules=rules(), **good_reports(), model_version="0123456789ab")
    assert verdict["verdict"] == "PROMOTE"
    assert verdict["model_version"] == "0123456789ab"
    assert {entry["outcome"] for entry in verdict["rules"]} == {"pass"}
    assert verdict["summary"] == "PROMOTE: the model keeps all 12 rules that are on."


@pytest.mark.parametrize("rule", sorted(WORSE))
@pytest.mark.parametrize("failure", ["hold", "reject"])
def test_one_broken_rule_has_the_consequence_params_give_it(rule: str, failure: str) -> None:
    verdict = judge(rules=rules(**{rule: RULES[rule] | {"failure": failure}}), **spoilt(*WORSE[rule]))
    assert verdict["verdict"] == failure.upper()
    assert [entry["rule"] for entry in verdict["rules"] if entry["outcome"] == "fail"] == [rule]
    assert outcome(verdict, rule)["failure"] == failure
    assert "and is not." in outcome(verdict, rule)["because"]


def test_reject_beats_hold() -> None:
    reports = spoilt("metrics.macro_f1.value", 0.5)
    reports["latency"]["p95_milliseconds"] = 9999.0
    assert judge(rules=rules(), **reports)["verdict"] == "REJECT"


@pytest.mark.parametrize(("rule", "place", "bound"), [
    ("macro_f1", "metrics.macro_f1.value", 0.75),
    ("fairness_gap", "audit.largest_gap.difference.high", 0.20),
    ("artifact_size", "compression.bytes", 500_000_000),
])  # fmt: skip
def test_a_figure_at_its_bound_keeps_the_rule(rule: str, place: str, bound: float) -> None:
    assert outcome(judge(rules=rules(), **spoilt(place, bound)), rule)["outcome"] == "pass"


def test_a_lead_of_exactly_nothing_is_no_lead() -> None:
    verdict = judge(rules=rules(), **spoilt("metrics.lead.macro_f1", {"value": 0.0, "low": 0.0, "high": 0.0}))
    assert outcome(verdict, "beats_baseline")["outcome"] == "fail"


def test_the_lower_end_is_judged_not_the_point() -> None:
    verdict = judge(rules=rules(), **spoilt("metrics.lead.macro_f1", {"value": 0.05, "low": -0.02, "high": 0.12}))
    entry = outcome(verdict, "beats_baseline")
    assert (entry["outcome"], entry["value"], entry["interval"]) == ("fail", 0.05, [-0.02, 0.12])
    assert "known to within 0.070 either way" in entry["because"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.rule)
@pytest.mark.parametrize(
    "broken", [None, math.nan, math.inf, "0.9", True, [], {}, {"value": 0.5}, {"value": math.nan, "low": 0.1, "high": 0.2}, -7.0]
)
def test_broken_evidence_fails_closed(check, broken) -> None:
    verdict = judge(rules=rules(), **spoilt(".".join(check.place), broken))
    entry = outcome(verdict, check.rule)
    assert (entry["outcome"], entry["value"], entry["interval"]) == ("missing", None, None)
    assert verdict["verdict"] == RULES[check.rule]["failure"].upper()
    assert "No evidence, which counts as a failure" in entry["because"]


@pytest.mark.parametrize("report", ["metrics", "audit", "compression", "latency", "challenge"])
@pytest.mark.parametrize("content", [{}, None, [], "lost", {"macro_f1": [], "lead": 3, "worst_group": "x", "largest_gap": 1, "bytes": {}}])
def test_a_report_that_is_not_one_never_promotes(report: str, content) -> None:
    verdict = judge(rules=rules(), **(good_reports() | {report: content}))
    assert verdict["verdict"] != "PROMOTE"
    wanting = {check.rule for check in CHECKS if check.place[0] == report}
    assert {entry["rule"] for entry in verdict["rules"] if entry["outcome"] == "missing"} == wanting


def test_an_inverted_interval_is_no_evidence() -> None:
    verdict = judge(rules=rules(), **spoilt("metrics.ece", {"value": 0.03, "low": 0.06, "high": 0.02}))
    assert outcome(verdict, "calibration")["outcome"] == "missing"


def test_the_audits_own_reason_is_passed_on() -> None:
    reports = good_reports() | {"audit": {"worst_group": None, "largest_gap": None, "reason": "no group has 30 rows"}}
    verdict = judge(rules=rules(), **reports)
    assert verdict["verdict"] == "HOLD"
    assert "no group has 30 rows" in outcome(verdict, "worst_group")["because"]
    assert "worst group's accuracy (no evidence)" in verdict["summary"]


def test_the_summary_names_broken_rules_as_they_are_spelt() -> None:
    verdict = judge(rules=rules(), **spoilt(*WORSE["macro_f1"]))
    assert verdict["summary"] == "REJECT: 1 of 12 rules is not kept: macro F1."


def test_a_rule_that_is_off_is_recorded_and_judges_nothing() -> None:
    verdict = judge(rules=rules(artifact_size=None), **spoilt("compression.bytes", 10**12))
    entry = outcome(verdict, "artifact_size")
    assert verdict["verdict"] == "PROMOTE"
    assert (entry["outcome"], entry["bound"], entry["failure"]) == ("off", None, None)
    assert "gate.rules.artifact_size is null" in entry["because"]


def test_with_every_rule_off_nothing_is_promoted() -> None:
    verdict = judge(rules=Rules.model_validate(dict.fromkeys(RULES)), **good_reports())
    assert verdict["verdict"] == "HOLD"


def test_sentences_name_the_groups_and_the_units() -> None:
    verdict = judge(rules=rules(), **good_reports())
    assert "Of first_language: other against english." in outcome(verdict, "fairness_gap")["because"]
    assert "is 91.0 MB; it must be at most 500.0 MB, and is." in outcome(verdict, "artifact_size")["because"]


def test_without_a_champion_what_compares_with_it_is_off_and_not_counted() -> None:
    verdict = judge(rules=rules(), **first_version())
    assert verdict["summary"] == "PROMOTE: the model keeps all 8 rules that are on."
    assert {entry["rule"] for entry in verdict["rules"] if entry["outcome"] == "off"} == set(COMPARED)
    assert outcome(verdict, "no_worse")["because"] == "Not judged: there is no champion to compare with."


def test_without_old_rows_only_remembering_is_off() -> None:
    verdict = judge(rules=rules(), **spoilt("challenge.old", None))
    assert verdict["verdict"] == "PROMOTE"
    assert [entry["rule"] for entry in verdict["rules"] if entry["outcome"] == "off"] == ["remembers"]


@pytest.mark.parametrize("rule", ["no_worse", "remembers"])
def test_a_test_too_small_to_tell_is_a_hold_even_where_failure_says_reject(rule: str) -> None:
    place = f"challenge.{'new' if rule == 'no_worse' else 'old'}.difference"
    strict = rules(**{rule: RULES[rule] | {"failure": "reject"}})
    verdict = judge(rules=strict, **spoilt(place, measured(0.01, -0.09, 0.11)))
    assert verdict["verdict"] == "HOLD"
    assert "nothing is known either way: a hold." in outcome(verdict, rule)["because"]
    assert judge(rules=strict, **spoilt(place, measured(-0.08, -0.12, -0.04)))["verdict"] == "REJECT"


def test_a_hold_for_want_of_rows_says_what_they_can_tell() -> None:
    verdict = judge(rules=rules(), **spoilt("challenge.new.difference", measured(0.0, -0.04, 0.04)))
    said = "With 300 new rows a true tie passes in 24% of cases."
    assert verdict["summary"] == f"HOLD: 1 of 12 rules is not kept: no worse than the champion. {said}"
    assert outcome(verdict, "no_worse")["because"].endswith(said)


def test_the_bound_of_a_loss_is_shown_as_the_difference_it_is() -> None:
    entry = outcome(judge(rules=rules(), **good_reports()), "no_worse")
    assert (entry["bound"], entry["side"]) == (-0.02, "at least")
    assert "the interval's lower end must be at least -0.020, and is." in entry["because"]


def test_the_slice_that_fares_worst_is_named() -> None:
    verdict = judge(rules=rules(), **spoilt(*WORSE["no_slice_worse"]))
    assert "Of length: under 10 words." in outcome(verdict, "no_slice_worse")["because"]
