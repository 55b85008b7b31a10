import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evergreen.release.dossier import confused_pairs, dossier, range_style
from tests.dossier_factories import many_labels, origin, params, reports

VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}
HOSTILE = "<script>alert('x')</script> & \"quoted\" $x^2$ {{ 7 * 7 }} -->"


def write_dossier(found: dict, folder: Path, knobs: dict | None = None) -> str:
    (folder / "raw").write_bytes(b"rows")
    return dossier(found, params=knobs or params(), provenance=origin(found, folder / "raw"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_dossier(reports(), tmp_path_factory.mktemp("page"))


class Reader(HTMLParser):
    """Follows open tags and gathers ids, links and words, so that a test can ask what a reader would find."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.ids += [value for value in [given.get("id")] if value]
        self.links += [value for name in ("href", "src", "xlink:href") if (value := given.get(name))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_asks_nothing_of_the_network(page: str) -> None:
    read = Reader(page)
    assert not {"script", "link", "img", "iframe"} & read.tags
    assert all(link.startswith("#") for link in read.links)
    assert "http" not in page.replace("http_", "")
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page


def test_the_page_is_well_formed_and_every_link_has_its_target(page: str) -> None:
    read = Reader(page)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links} <= set(read.ids)


def test_the_verdict_comes_first_with_every_rule_its_interval_and_its_bound(page: str) -> None:
    words = Reader(page).words
    assert words.index("HOLD") < words.index("Accuracy on unseen messages")
    for rule in reports()["verdict"]["rules"]:
        assert rule["title"] in words
    for part in ("0.029 to 0.095", "more than 0", "at most 250 ms", "7.9 ms", "missing", "off"):
        assert part in words, part


def test_figures_stand_with_their_intervals_and_too_small_groups_are_marked(page: str) -> None:
    words = Reader(page).words
    for part in ("0.859", "0.819 to 0.899", "0.803", "too few rows", "first_language", "92.4", "2.13.0+cpu", "e" * 64, "35", "differs"):
        assert part in words, part


def test_plots_follow_the_colours_of_the_page_and_keep_their_texts(page: str) -> None:
    drawn = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawn) == 5
    for plot in drawn:
        assert "var(--" in plot
        assert not re.search(r"#[0-9a-f]{6}\b", plot)
        assert "<text" in plot
        assert 'role="img"' in plot
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_every_text_of_a_user_is_escaped(tmp_path: Path) -> None:
    labels = (HOSTILE, "card")
    found, knobs = reports(labels), params()
    knobs["document"] = {**knobs["document"], **dict.fromkeys(("title", "purpose", "limits", "owner", "licence"), HOSTILE)}
    knobs["ingest"] = {**knobs["ingest"], "source": HOSTILE}
    found["audit"]["columns"][0]["name"] = found["audit"]["columns"][0]["groups"][0]["group"] = HOSTILE
    found["evaluation"]["slices"][0]["by"] = found["evaluation"]["slices"][0]["slice"] = HOSTILE
    found["quality"]["groups"] = {HOSTILE: {HOSTILE: 1}}
    found["verdict"]["rules"][0]["because"] = HOSTILE
    page = write_dossier(found, tmp_path, knobs)
    read = Reader(page)
    assert "script" not in read.tags
    assert read.open == []
    assert "alert('x')" in read.words
    assert "{{ 7 * 7 }}" in read.words


def test_many_labels_get_a_heat_map_without_texts_and_a_table_that_scrolls(tmp_path: Path) -> None:
    page = write_dossier(reports(many_labels(77)), tmp_path)
    heat = next(plot for plot in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL) if "Confusion matrix" in plot)
    assert heat.count("<text") == 2  # the names of the axes alone
    assert "scroll tall" in page
    assert len(page) < 600_000


def test_a_training_of_one_epoch_is_drawn_at_epoch_one(tmp_path: Path) -> None:
    found = reports()
    found["training"] |= {"epochs_run": 1, "kept_epochs": [1], "history": found["training"]["history"][:1]}
    page = write_dossier(found, tmp_path)
    curve = next(plot for plot in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL) if "by epoch" in plot)
    assert re.findall(r"<text[^>]*>([^<]*)</text>", curve)[:2] == ["1", "epoch"]
    assert "1 pass," in Reader(page).words


def test_averaged_trainings_are_drawn_one_by_one_and_said(tmp_path: Path) -> None:
    found = reports()
    history = [row | {"member": member} for member in (1, 2, 3) for row in found["training"]["history"][:4]]
    found["training"] |= {"members": 3, "epochs_run": 12, "kept_epochs": [4, 4, 4], "history": history}
    page = write_dossier(found, tmp_path)
    curve = next(plot for plot in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL) if "by epoch" in plot)
    told = re.findall(r"<text[^>]*>([^<]*)</text>", curve)
    assert [word for word in told if word.startswith(("train", "validation"))] == ["train", "validation", "validation, averaged"]
    words = Reader(page).words
    assert "weights averaged over 3 trainings from the same start, in all 12 passes" in words
    assert "Each of the 3 trainings has lines of its own" in words
    assert "The dashed line marks the pass" not in words


def test_a_model_that_went_on_from_another_names_it_and_the_backbone(tmp_path: Path) -> None:
    found = reports()
    found["training"]["start"] = {"source": "champion/classifier", "sha256": "f" * 64}
    words = Reader(write_dossier(found, tmp_path)).words
    assert "the weights of v1.2.0, which goes back to sentence-transformers/all-MiniLM-L6-v2, revision" in words
    assert re.search(rf"Weights it started from, sha256\s*{'f' * 64}", words)


def test_what_a_report_leaves_out_is_a_dash_and_not_a_zero(tmp_path: Path) -> None:
    found = reports()
    for report, keys in {
        "latency": ("p50_milliseconds",),
        "training": ("tokens",),
        "quality": ("from", "to", "groups"),
    }.items():
        for key in keys:
            del found[report][key]
    for test in found["drift"]["tests"]:
        test |= {"p_value": None, "statistic": None, "note": "only 3 rows"}
    words = Reader(write_dossier(found, tmp_path)).words
    assert "one text in – ms (median)" in words
    assert "not tested" in words
    assert "only 3 rows" in words


def test_a_figure_that_is_undefined_is_a_dash_wherever_it_may_stand(tmp_path: Path) -> None:
    found = reports()
    evaluation = found["evaluation"]
    evaluation["classes"][0] |= {"precision": None, "f1": None}
    evaluation["metrics"] |= {"log_loss": None, "ece": None, "lead": {"accuracy": None, "macro_f1": None}}
    evaluation["metrics"]["answered"] = {"coverage": evaluation["metrics"]["accuracy"], "accuracy": None}
    found["calibration"]["accuracy_answered"] = None
    found["audit"]["columns"][0]["gaps"][0]["ratio"] = None
    words = Reader(write_dossier(found, tmp_path)).words
    assert "ratio –" in words
    assert "– of them rightly (– to –)" in words


def test_a_model_without_groups_says_why_nothing_was_audited(tmp_path: Path) -> None:
    found = reports()
    found["audit"] |= {"columns": [], "intersections": [], "worst_group": None, "largest_gap": None, "reason": "the data names no groups"}
    assert "Nothing was audited: the data names no groups." in Reader(write_dossier(found, tmp_path)).words


def test_the_same_reports_give_the_same_bytes(tmp_path: Path, page: str) -> None:
    assert write_dossier(reports(), tmp_path) == page


def test_the_most_frequent_confusions_come_first() -> None:
    pairs = confused_pairs({"labels": ["a", "b", "c"], "counts": [[8, 2, 0], [3, 5, 0], [0, 2, 2]]}, most=2)
    assert [(pair["truth"], pair["answer"], pair["rows"]) for pair in pairs] == [("b", "a", 3), ("c", "b", 2)]
    assert pairs[0]["share"] == pytest.approx(3 / 8)


def test_an_interval_is_drawn_between_the_ends_of_its_axis_and_cut_at_them() -> None:
    assert range_style({"value": 0.75, "low": 0.6, "high": 0.9}, 0.5, 1.0) == "--start:20.00%;--width:60.00%;--point:50.00%"
    assert range_style({"value": 0.2, "low": 0.1, "high": 0.75}, 0.5, 1.0) == "--start:0.00%;--width:50.00%;--point:0.00%"


def test_the_comparison_with_the_champion_is_told_with_its_power(page: str) -> None:
    words = Reader(page).words
    assert "Champion is version v1.2.0" in words
    assert "With 150 new rows a true tie passes in 24% of cases." in words
    assert [name for name in ("new", "old", "all") if f">{name}</th>" in page] == ["new", "old", "all"]


def test_a_first_version_says_that_nothing_was_compared(tmp_path: Path) -> None:
    page = write_dossier(reports() | {"challenge": {"champion": None, "reason": "there is no champion to compare with"}}, tmp_path)
    assert "Nothing was compared: there is no champion to compare with." in Reader(page).words
