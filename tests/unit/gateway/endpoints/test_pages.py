"""The table of the page's files."""

from gateway.endpoints.pages import MEDIA_TYPES, POLICY, Pages
from tests.support.paths import ROOT

WEB = ROOT / "gateway" / "web"


def test_every_file_of_the_folder_is_served_and_nothing_else() -> None:
    """A file whose ending is not known would be missing from the page."""
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= set(MEDIA_TYPES)
    served = Pages.load().by_path
    assert len(served) == len(files)
    assert {"/", "/console"} <= set(served)
    assert all(p in ("/", "/console") or p.startswith("/web/") for p in served)
    assert sorted(page.content for page in served.values()) == sorted(p.read_bytes() for p in files)


def test_the_page_offers_the_providers_beside_the_first_of_each_kind() -> None:
    """Below these, under their names; nothing else of any file is another."""
    plain, served = Pages.load().by_path, Pages.load(["azure-eu", "openai-2"]).by_path
    assert [path for path in plain if plain[path] != served[path]] == ["/"]
    html = served["/"].content.decode()
    picker = html.split('<select id="provider"')[1].split("</select>")[0]
    assert picker.index(">openai-2<") > picker.index(">azure-eu<") > picker.index(">Gemini<")
    assert plain["/"].etag != served["/"].etag


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    """Each kind of content is named, and all of it is the gateway's own."""
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert not any(word in POLICY for word in ("unsafe", "*", "http"))
