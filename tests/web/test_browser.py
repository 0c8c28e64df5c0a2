"""The dashboard in a real Chromium: what a person sees and does. A console error or a CSP violation fails a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.web.conftest import PASSWORD, Tenant, make_rollout, make_tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CHROMIUM = "/usr/bin/chromium"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright's synchronous API keeps an event loop running, which Django takes for an asynchronous context.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return make_tenant("alice", PASSWORD)


@pytest.fixture
def page(browser: Browser, live_server: Any, tenant: Tenant) -> Iterator[Page]:
    """Signed in through the form."""
    context = browser.new_context(base_url=live_server.url, bypass_csp=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto("/")
    page.get_by_label("Email").fill(tenant.user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(tenant.project.name)
    yield page
    context.close()
    assert problems == []


def is_problem(message: ConsoleMessage) -> bool:
    """A page that says what is wrong with a form is a 400, which Chromium reports."""
    return message.type == "error" and "the server responded with a status of 400" not in message.text


def shot(page: Page, name: str) -> None:
    """Keep a picture if somebody wants to look (SLIPSTREAM_SCREENSHOTS=folder)."""
    if folder := os.environ.get("SLIPSTREAM_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_the_endpoint_page_draws_the_chart_with_a_marker_at_the_new_version(page: Page, tenant: Tenant) -> None:
    page.get_by_role("link", name="Endpoints").click()
    page.get_by_role("link", name=tenant.endpoint.name).click()
    chart = page.locator("[data-endpoint-chart]")
    expect(chart).to_have_attribute("data-markers", "1")
    expect(chart.locator("canvas")).to_be_visible()
    expect(page.locator("#chart-summary")).to_contain_text("with v1; acceptance length 1.60")
    painted = chart.locator("canvas").evaluate(
        """canvas => {
          const wanted = getComputedStyle(document.documentElement).getPropertyValue("--chart-mark").trim();
          const [r, g, b] = [1, 3, 5].map(i => parseInt(wanted.slice(i, i + 2), 16));
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let found = 0;
          for (let i = 0; i < data.length; i += 4)
            if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] > 200) found++;
          return found;
        }"""
    )
    assert painted > 100, "the marker's colour is nowhere on the canvas"
    shot(page, "endpoint")
    page.get_by_text("The same as a table").click()
    expect(page.locator("#chart-table tbody tr").first).to_contain_text("v1")


def test_a_rollout_is_watched_and_aborted(page: Page, tenant: Tenant) -> None:
    rollout = make_rollout(tenant)
    page.get_by_role("link", name="Endpoints").click()
    page.get_by_role("link", name=tenant.endpoint.name).click()
    expect(page.get_by_role("heading", name="Rollout", exact=True)).to_be_visible()
    expect(page.get_by_role("row", name="Time per token")).to_contain_text("worse")
    shot(page, "rollout")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Abort").click()
    expect(page.get_by_role("button", name="Abort")).to_have_count(0)
    rollout.refresh_from_db()
    assert rollout.state == "aborting"


def test_a_key_is_made_shown_once_and_revoked(page: Page) -> None:
    page.get_by_role("link", name="API keys").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#new-key")).to_contain_text("sls_live_")
    shot(page, "keys")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke laptop").click()
    expect(page.get_by_role("row", name="laptop")).to_contain_text("revoked")
    expect(page.locator("#new-key")).to_have_count(0)


def test_a_key_is_narrowed_and_each_mistake_is_said_at_its_field(page: Page, tenant: Tenant) -> None:
    page.get_by_role("link", name="API keys").click()
    page.get_by_label("Name").fill("build server")
    page.get_by_label("List the endpoints").uncheck()
    page.get_by_label(tenant.endpoint.name).check()
    page.get_by_label("Networks").fill("192.0.2.0/24 office")
    page.get_by_label("Expires").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Create key").click()
    networks = page.get_by_label("Networks")
    expect(networks).to_have_accessible_description(
        "office: This must be an IP address or a network such as 192.0.2.0/24."
    )
    expect(networks).to_have_value("192.0.2.0/24 office")
    expect(page.get_by_label("List the endpoints")).not_to_be_checked()
    expect(page.get_by_label(tenant.endpoint.name)).to_be_checked()
    networks.fill("192.0.2.0/24, 2001:db8::/32")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_label("Expires")).to_have_accessible_description("The expiry is in the past.")
    shot(page, "key-form-refused")
    page.get_by_label("Expires").fill("2099-12-31T10:30")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#new-key")).to_contain_text("sls_live_")
    row = page.get_by_role("row", name="build server")
    expect(row).to_contain_text("inference:write")
    expect(row).to_contain_text(tenant.endpoint.name)
    expect(row).to_contain_text("192.0.2.0/24 2001:db8::/32")
    expect(row).to_contain_text("2099")
    shot(page, "key-form")


def test_an_endpoint_is_deleted_and_brought_back(page: Page, tenant: Tenant) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Endpoints").click()
    page.get_by_role("link", name=tenant.endpoint.name).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is being deleted")
    shot(page, "endpoint-deleted")
    page.get_by_role("button", name=f"Bring back {tenant.endpoint.name}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(tenant.endpoint.name)
    tenant.endpoint.refresh_from_db()
    assert tenant.endpoint.desired_state == "running"


def test_consent_is_a_switch_with_words(page: Page) -> None:
    page.get_by_role("link", name="Data policy").click()
    page.get_by_label("Let this project's speculator learn from its traffic").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("capture is off")
    shot(page, "data-policy")


def test_the_keyboard_reaches_the_content_first(page: Page) -> None:
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


PATHS = ["", "/endpoints", "/endpoints/{endpoint}", "/speculators", "/speculators/{speculator}", "/training-runs"]
PATHS += ["/training-runs/{run}", "/keys", "/usage", "/data-policy"]


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_have_no_accessibility_violation_and_never_scroll_sideways(
    page: Page, tenant: Tenant, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    ids = {"endpoint": tenant.endpoint.id, "speculator": tenant.speculator.id, "run": tenant.run.id}
    found: list[str] = []
    paths = [f"/projects/{tenant.project.id}{path.format(**ids)}" for path in PATHS]
    paths += [f"/organizations/{tenant.organization.id}/{name}" for name in ("statement", "members", "audit")]
    for path in paths:
        page.goto(path)
        shot(page, f"{path.strip('/').replace('/', '_')}-{width}")
        page.evaluate(AXE.read_text())
        result = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
        found += [f"{path}: {v['id']}: {v['nodes'][0]['html'][:120]}" for v in result["violations"]]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{path}: wider than the window")
    assert found == []
