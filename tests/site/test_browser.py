"""The built site in Chromium: no errors, readable, searchable, copyable."""

import urllib.parse

import pytest

from tests.site.test_files import pages_of

PHONE = {"width": 375, "height": 700}
READABLE = 4.5  # contrast of text, WCAG 2.2 level AA
LARGE = 3.0  # of large or bold text
SEARCHED = {  # words, and a page that must be among the answers
    "video": "callbacks",
    "hyperparameter": "which_algorithm",
    "optuna": "notebooks/tuning",
    "early stopping": "howto/early_stopping",
    "multidiscrete": "howto/multidiscrete",
    "SAC": "algorithms/sac",
    "tensorboard": "tracking",
    "resume": "promises",
    "transfer": "howto/transfer",
    "LunarLander": "howto/index",
    "glossary": "glossary",
    "Stable-Baselines3": "coming_from/stable_baselines3",
}
WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const scrolls = e => {
    for (let a = e.parentElement; a; a = a.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(a).overflowX))
        return true;
    return false;
  };
  return [...document.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e))
    .slice(0, 5).map(e => e.tagName + " " + e.textContent.slice(0, 40))
    .concat(["page of " + document.documentElement.scrollWidth + " px"]);
}"""
FORMULAS = """() => [...document.querySelectorAll("math")]
  .filter(e => { const r = e.getBoundingClientRect(); return !r.width || !r.height; })
  .map(e => e.textContent.slice(0, 40))"""
FAINT = """([readable, large]) => {
  const canvas = document.createElement("canvas").getContext("2d",
    {willReadFrequently: true});
  const known = {};
  const rgba = color => known[color] ??= (() => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  })();
  const over = (top, below) => {
    const a = top[3] / 255;
    return [0, 1, 2].map(i => a * top[i] + (1 - a) * below[i]).concat([255]);
  };
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3]) layers.push(color);
      if (color[3] === 255) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 255]);
  };
  const light = color => {
    const [r, g, b] = color.slice(0, 3).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set(), like = new Set(), found = [];
  const looks = e => e ? e.tagName + "." + e.className : "";
  const words = document.createTreeWalker(document.querySelector("article") ??
    document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || !element.getClientRects().length) continue;
    const parent = element.parentElement;
    const alike = [element, parent, parent?.parentElement].map(looks).join(" ") +
      element.getAttribute("style");
    if (like.has(alike)) continue;
    like.add(alike);
    const style = getComputedStyle(element);
    if (style.visibility === "hidden" || style.opacity === "0") continue;
    const below = behind(element), above = over(rgba(style.color), below);
    const [a, b] = [light(above), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(style.fontSize);
    const bold = parseInt(style.fontWeight) >= 700;
    const needed = size >= 24 || (bold && size >= 18.6) ? large : readable;
    const kind = element.tagName + "." + element.className + " " + style.color;
    if (ratio < needed && !seen.has(kind)) {
      seen.add(kind);
      found.push(kind + " on " + below.slice(0, 3).map(Math.round) + ": " +
        ratio.toFixed(2) + " " + words.currentNode.data.trim().slice(0, 20));
    }
  }
  return found;
}"""


@pytest.fixture(scope="session")
def findings(site, address, context):
    """Dictionary of kinds of faults to those found, from one visit of each page."""
    found = {kind: [] for kind in ("errors", "wide", "formulas", "dark", "light")}
    page, name = context.new_page(), None
    page.set_viewport_size(PHONE)

    def note(kind, what):
        found[kind] += [f"{name}: {fault}" for fault in what]

    page.on(
        "console",
        lambda m: note("errors", [m.text] if m.type in ("error", "warning") else []),
    )
    page.on("pageerror", lambda error: note("errors", [str(error)]))
    page.on("requestfailed", lambda request: note("errors", [request.url]))
    page.on(
        "request",
        lambda r: note(
            "errors", [] if r.url.startswith((address, "data:")) else [r.url]
        ),
    )
    for path in pages_of(site):
        name = path.relative_to(site).as_posix()
        page.emulate_media(color_scheme="light")
        page.goto(f"{address}/{name}", wait_until="load")
        note("formulas", page.evaluate(FORMULAS))
        note("light", page.evaluate(FAINT, [READABLE, LARGE]))
        page.emulate_media(color_scheme="dark")
        note("dark", page.evaluate(FAINT, [READABLE, LARGE]))
        note("wide", page.evaluate(WIDE))
    page.close()
    return found


@pytest.mark.parametrize("kind", ["errors", "wide", "formulas", "dark", "light"])
def test_no_page_has_faults(findings, kind):
    assert findings[kind] == [], "\n".join(findings[kind][:40])


@pytest.fixture
def page(context):
    page = context.new_page()
    yield page
    page.close()


def test_formulas_are_mathml(page, address):
    page.goto(f"{address}/algorithms/ppo.html")
    assert page.locator("math").count() > 10
    assert "\\text" not in page.locator("article").inner_text()


@pytest.mark.parametrize("words", SEARCHED)
def test_search_answers(page, address, words):
    query = urllib.parse.urlencode({"q": words})
    page.goto(f"{address}/search.html?{query}")
    page.wait_for_function(
        "document.querySelector('.search-summary')?.textContent.includes('finished')"
    )
    answers = page.locator("#search-results li a").evaluate_all(
        "links => links.map(link => new URL(link.href).pathname)"
    )
    assert f"/{SEARCHED[words]}.html" in answers, answers[:10]


def test_copy_buttons_copy(page, address):
    page.goto(f"{address}/quickstart.html")
    block = page.locator("div.highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip()
    assert copied.startswith("import kerasrl2 as krl")


def test_copy_buttons_leave_prompts_out(page, address):
    page.goto(f"{address}/api/returns.html")
    block = page.locator("div.highlight", has_text=">>>").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied
    assert ">>>" not in copied


@pytest.mark.parametrize(
    ("script", "argument", "body", "faults"),
    [
        (FAINT, [READABLE, LARGE], "<article style='color:#aaa'>pale", 1),
        (FAINT, [READABLE, LARGE], "<article style='color:#444'>dark", 0),
        (WIDE, None, "<article><p style='width:900px'>wide", 2),
        (WIDE, None, "<article style='overflow-x:auto'><p style='width:900px'>w", 0),
        (FORMULAS, None, "<math style='display:none'><mi>x</mi></math>", 1),
        (FORMULAS, None, "<math><mi>x</mi></math>", 0),
    ],
)
def test_faults_are_found(page, script, argument, body, faults):
    page.set_viewport_size(PHONE)
    page.set_content(f"<!doctype html><body>{body}")
    assert len(page.evaluate(script, argument)) == faults
