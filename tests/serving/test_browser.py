"""The pages in a real browser: what a person sees, with what they do, and nothing asked of anyone else."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from evergreen.access import KeyFile
from evergreen.release.dossier import dossier
from serving.model.backend import Challenger
from tests import dossier_factories
from tests.live_factories import LoadedModel, live_service, served
from tests.release_factories import bento_folder
from tests.serving_factories import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine; install the package chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
PATIENCE = 60_000  # ms: a busy machine is slow
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=PATIENCE)
        yield found
        found.close()


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Bento of the tiny model with a real dossier."""
    made = bento_folder(tmp_path_factory.mktemp("bento") / "tiny")
    reports = dossier_factories.reports()
    origin = dossier_factories.origin(reports, made / "bento.yaml")
    (made / "src" / "dossier.html").write_text(dossier(reports, params=dossier_factories.params(), provenance=origin), encoding="utf-8")
    return made


@pytest.fixture
def made(bento: Path, tmp_path: Path) -> Service:
    return live_service(bento, tmp_path / "keys.json")


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page of a service. At the end, nothing may have gone wrong in it that the test did not announce in `page.announced`."""
    with ExitStack() as stack:
        troubles: list[tuple[list[str], str]] = []

        def visit(made: Service, path: str = "/", **context: Any) -> Page:
            origin = stack.enter_context(served(made.app))
            opened = browser.new_context(**{"viewport": SIZES["desk"]} | context)
            stack.callback(opened.close)
            page, announced = opened.new_page(), []
            page.announced = announced
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda said: said.type in ("error", "warning") and troubles.append((announced, said.text)))
            page.on("pageerror", lambda fault: troubles.append((announced, str(fault))))
            page.on("request", lambda asked: asked.url.startswith((origin, "data:")) or troubles.append((announced, f"asked {asked.url}")))
            page.goto(origin + path)
            return page

        yield visit
    assert [text for announced, text in troubles if not any(part in text for part in announced)] == []


def ask(page: Page, text: str) -> None:
    """Type a message and wait for its answer."""
    page.get_by_label("A message").fill(text)
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#go")).to_have_text("Ask the model", timeout=PATIENCE)


def test_a_sure_answer_comes_with_how_often_such_answers_are_right(made: Service, visit: Visit) -> None:
    page = visit(made)
    ask(page, "card card please")
    assert page.locator("#label").inner_text().split() == ["card", "99.2%", "sure"]
    assert page.locator("#decision").inner_text() == "No person needed"
    why = page.locator("#why").inner_text()
    assert "It is 99.2% sure, and from 80.0% on it answers by itself." in why
    assert (
        "375 messages it had never seen, 81% were on this side of the line, and 92.4% (89.4% to 95.4%) of those answers were right" in why
    )
    assert made.recorder.rows[-1].request_id in page.locator("#facts").inner_text()


def test_an_unsure_answer_says_why_a_person_is_asked(made: Service, visit: Visit) -> None:
    page = visit(made)
    ask(page, "card card card fraud fraud fraud fraud")
    assert page.locator("#decision").inner_text() == "A person should read this"
    why = page.locator("#why").inner_text()
    assert "below 80.0% it does not answer by itself" in why
    assert "92.4% (89.4% to 95.4%) of the answers above that line were right, and about 58% below it" in why
    assert "Its second choice is card, with 2" in why
    shares = [float(share.removesuffix("%")) for share in page.locator("#bars .share").all_inner_texts()]
    assert len(shares) == 4
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_a_version_that_never_answered_by_itself_claims_no_record(tmp_path: Path, visit: Visit) -> None:
    bento = bento_folder(tmp_path / "shy", threshold=0.999)
    metrics = json.loads((bento / "src" / "metrics.json").read_text(encoding="utf-8"))
    metrics["answered"] = {"coverage": {"value": 0.0, "low": 0.0, "high": 0.0}, "accuracy": None}
    (bento / "src" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    page = visit(live_service(bento, tmp_path / "keys.json"))
    ask(page, "card card please")
    assert (
        page.locator("#why").inner_text().startswith("It is 99.2% sure, and below 99.9% it does not answer by itself. Its second choice is")
    )


def test_the_right_label_goes_back_once_and_can_be_corrected(made: Service, visit: Visit) -> None:
    page = visit(made)
    ask(page, "hello")
    thanks = page.locator("#thanks")
    for label, told in (("fraud", "Recorded."), ("fraud", "on record already"), ("card", "Corrected")):
        page.get_by_label("The right label").select_option(label)
        page.get_by_role("button", name="Send it back").click()
        expect(thanks).to_contain_text(told, timeout=PATIENCE)
    assert [row.label for row in made.recorder.labels] == ["fraud", "fraud", "card"]
    assert {row.request_id for row in made.recorder.labels} == {made.recorder.rows[-1].request_id}


def test_the_keyboard_is_enough_and_the_answer_is_spoken(made: Service, visit: Visit) -> None:
    page = visit(made)
    page.keyboard.press("Tab")
    page.keyboard.type("savings savings")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status").first).to_have_text("savings, 99.2% sure. No person needed.", timeout=PATIENCE)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "send":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#thanks")).to_contain_text("Recorded.", timeout=PATIENCE)


def test_a_message_it_was_tested_with_gets_the_answer_that_was_recorded(made: Service, visit: Visit) -> None:
    page = visit(made)
    sample = page.locator(".sample").first
    sample.click()
    expect(page.locator("#answer")).to_be_visible(timeout=PATIENCE)
    assert page.get_by_label("A message").input_value() == sample.get_attribute("data-text") == made.recorder.rows[-1].text


def test_markup_in_a_message_or_a_label_stays_text(tmp_path: Path, visit: Visit) -> None:
    made = live_service(bento_folder(tmp_path / "odd", labels=("<b>card</b>", "fraud")), tmp_path / "keys.json")
    page = visit(made)
    ask(page, "<img src=x onerror=alert(1)>")
    assert page.locator("#bars b:not(.bar b)").count() == 0
    assert "<b>card</b>" in page.locator("#bars").inner_text()


def test_after_a_swap_the_open_page_speaks_of_the_version_that_answered(made: Service, visit: Visit, tmp_path: Path) -> None:
    page = visit(made)
    ask(page, "card card please")
    made.models.champion_model = LoadedModel(bento_folder(tmp_path / "next", threshold=0.995))
    ask(page, "card card please")
    version = made.models.champion.about.version
    assert page.locator("#live").inner_text() == version
    assert version in page.locator("#facts").inner_text()
    assert "below 99.5% it does not answer by itself" in page.locator("#why").inner_text()


def test_an_answer_of_a_version_on_trial_is_told_as_such(made: Service, visit: Visit, tmp_path: Path) -> None:
    trial = LoadedModel(bento_folder(tmp_path / "trial", threshold=0.9))
    made.models.challenger = Challenger(trial, "canary", 1.0)
    page = visit(made)
    ask(page, "card card please")
    assert f"Version {trial.about.version}, which is on trial" in page.locator("#why").inner_text()


def test_of_many_labels_the_likeliest_are_shown_and_the_rest_on_demand(tmp_path: Path, visit: Visit) -> None:
    labels = tuple(f"team_{chr(97 + number // 7)}{chr(97 + number % 7)}" for number in range(40))
    page = visit(live_service(bento_folder(tmp_path / "many", labels=labels, threshold=0.3), tmp_path / "keys.json"))
    ask(page, "teamcc please")
    assert page.locator("#bars li").count() == 8
    page.get_by_role("button", name="Show the other 32 labels").click()
    assert page.locator("#bars li").count() == 40


def test_a_caller_who_asks_too_fast_is_told_when_to_come_back(bento: Path, tmp_path: Path, visit: Visit) -> None:
    page = visit(live_service(bento, tmp_path / "keys.json", per_second=0.01, burst=1))
    page.announced.append("429")
    ask(page, "card")
    ask(page, "card")
    assert (
        page.get_by_role("alert")
        .inner_text()
        .startswith("The service has too much to do just now, or this key has asked too fast. Try again in")
    )


def test_a_service_out_of_reach_is_told_and_the_message_kept(made: Service, visit: Visit) -> None:
    page = visit(made)
    page.announced.append("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.get_by_label("A message").fill("card")
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached", timeout=PATIENCE)
    assert page.get_by_label("A message").input_value() == "card"
    page.context.set_offline(False)
    ask(page, "card")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_with_an_api_key_as_password_the_page_works_and_a_key_that_may_only_read_is_told_so(
    bento: Path, tmp_path: Path, visit: Visit
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    made = live_service(bento, keys.path)
    (_, everything), (_, reading) = keys.create("everything"), keys.create("reading", ("read",))
    page = visit(made, http_credentials={"username": "anyone", "password": everything})
    page.announced.append("401")  # the browser asks without the key first
    ask(page, "card")
    assert page.locator("#decision").is_visible()
    page = visit(made, http_credentials={"username": "anyone", "password": reading})
    page.announced += ["401", "403"]
    ask(page, "card")
    assert page.get_by_role("alert").inner_text() == "Not allowed: this API key may not predict."


def test_without_a_key_the_page_asks_for_one(made: Service, visit: Visit) -> None:
    page = visit(made)
    page.announced.append("401")
    page.route("**/predict", lambda route: route.fulfill(status=401, json={"error": "send an API key", "detail": []}))
    ask(page, "card")
    assert "a password, which is the key" in page.get_by_role("alert").inner_text()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/", "/docs", "/card"])
def test_a_page_fits_its_screen_and_breaks_no_rule_of_its_policy(made: Service, visit: Visit, path: str, size: str) -> None:
    page = visit(made, path, viewport=SIZES[size])
    assert page.locator("h1").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 246)"  # its style was applied


PLANTED = """() => new Promise((told) => {
  const broken = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    broken.push(event.effectiveDirective);
    if (broken.length === 3) told({ broken: broken.sort(), ran: window.ran === true });
  });
  const script = document.createElement("script");
  script.textContent = "window.ran = true";
  document.body.append(script);
  const picture = document.createElement("img");
  picture.src = "http://198.51.100.7/picture.png";
  document.body.append(picture);
  fetch("http://198.51.100.7/").catch(() => null);
})"""


def test_what_somebody_might_plant_in_the_page_neither_runs_nor_calls_out(made: Service, visit: Visit) -> None:
    page = visit(made)
    page.announced += ["Content Security Policy", "198.51.100.7"]
    assert page.evaluate(PLANTED) == {"broken": ["connect-src", "img-src", "script-src-elem"], "ran": False}


# Contrast of every text with what lies behind it, as WCAG 2 defines it.
CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => { for (let at = node; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || !node.checkVisibility()) continue;
    const [one, other] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), node.outerHTML.slice(0, 80)]);
  }
  return found;
}"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_text_can_be_read_against_its_background(made: Service, visit: Visit, path: str, scheme: str) -> None:
    page = visit(made, path, color_scheme=scheme)
    if path == "/":
        ask(page, "hello")
    found = page.evaluate(CONTRAST)
    assert len(found) > 20
    assert [text for contrast, text in found if contrast < 4.5] == []


def test_every_field_has_a_name_and_headings_follow_one_another(made: Service, visit: Visit) -> None:
    page = visit(made)
    ask(page, "hello")
    assert page.evaluate("[...document.querySelectorAll('input, select, textarea')].every((field) => field.labels.length === 1)")
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].filter((head) => head.checkVisibility()).map((head) => +head.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
