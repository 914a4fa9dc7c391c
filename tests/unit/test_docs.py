"""The documentation names everything that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from accountd.cli import cli as accountd
from accountd.ctl.cli import cli as accountctl
from gateway import limits
from gateway.cli import cli as gateway
from gateway.providers import lifetimes
from gateway.providers.catalog import CATALOG, CatalogEntry
from gateway.relay import replacement
from gateway.translate import conversation
from gateway.translate.kept import unanswered
from gateway.translate.kept_gemini import setup
from gateway.translate.voices import voice_for
from shared.errors import ExitCode
from simulator.cli import cli as simulator
from tests.support.paths import ROOT

OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text()
README = (ROOT / "README.md").read_text()
SWITCH = (ROOT / "docs" / "SWITCH.md").read_text()
METRIC = re.compile(r'"(rts_[a-z0-9_]+)"')
PROGRAMS = {
    "rts-gateway": gateway, "accountd": accountd, "accountctl": accountctl,
    "rts-simulator": simulator,
}  # fmt: skip


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command below ``command`` with its full name."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for part in command.list_commands(context):
            below = command.get_command(context, part)
            assert below is not None
            yield from leaves(f"{name} {part}", below)
    else:
        yield name, command


COMMANDS = [leaf for name, group in PROGRAMS.items() for leaf in leaves(name, group)]


def is_documented(name: str) -> bool:
    """Whether the page names exactly this: a longer name that begins or ends so does not count."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", OPERATIONS) is not None


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_operations_names_every_command_and_setting(name: str, command: click.Command) -> None:
    """A variable that is missing in the page fails, and so does an option that has none."""
    assert f"`{name}`" in OPERATIONS
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in ("as_json", "help"):
            variables = [parameter.envvar] if parameter.envvar else parameter.opts
            assert any(is_documented(str(one)) for one in variables), f"{name}: {variables}"


@pytest.mark.parametrize("code", list(ExitCode))
def test_operations_names_every_exit_code(code: ExitCode) -> None:
    """Scripts rely on them."""
    assert f"| {code.value} |" in OPERATIONS


def test_operations_names_every_metric() -> None:
    """A number that nobody explains is no help at night. Counters end in ``_total`` when shown."""
    packages = ("gateway", "accountd", "shared")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    names = {name for path in sources for name in METRIC.findall(path.read_text())}
    assert len(names) > 10
    missing = [n for n in sorted(names) if not (is_documented(n) or is_documented(f"{n}_total"))]
    assert missing == []


PAGES = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "findings/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    """A file that moved takes its links along."""
    page = ROOT / name
    links = [part.split(")")[0].split("#")[0] for part in page.read_text().split("](")[1:]]
    local = [link for link in links if link and not link.startswith("http")]
    assert len(links) > 0
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["gateway", "accountd", "shared", "simulator", "migrations"])
def test_every_folder_with_modules_is_a_package(name: str) -> None:
    """import-linter does not see a folder without ``__init__``: no contract would hold there."""
    folders = {path.parent for path in (ROOT / name).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def packages_below(*names: str) -> list[Path]:
    """The folders of a package and of all that is in it."""
    return [path.parent for name in names for path in sorted((ROOT / name).rglob("__init__.py"))]


MAP_LINES_MAX = 18  # ten, and a line for each module of the largest packages


@pytest.mark.parametrize(
    "package", packages_below("gateway", "accountd", "shared", "simulator"), ids=str
)
def test_the_map_of_a_package_names_everything_in_it(package: Path) -> None:
    """One look at the ``__init__`` tells where a question is answered."""
    chart = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    missing = [name for name in sorted(modules | folders) if not re.search(rf"`{name}/?`", chart)]
    assert not missing, f"{package.relative_to(ROOT)}/__init__.py does not name {missing}"
    rows = [re.match(r"(?:``[\w/]+``(?:, )?)+", line) for line in chart.splitlines()]
    named = {name for row in rows if row for name in re.findall(r"\w+", row[0])}
    stale = named - modules - folders - {path.name for path in package.iterdir()}
    assert not stale, f"{package.relative_to(ROOT)}/__init__.py names {stale}, which is gone"
    assert len(chart.splitlines()) <= MAP_LINES_MAX


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    """The table in ARCHITECTURE.md repeats the constants."""
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    table = page.split("## Limits")[1].split("##")[0]
    for text in (
        f"{limits.MESSAGE_BYTES_MAX // 2**20} MiB, {limits.FRAGMENTS_MAX:,} fragments",
        f"{limits.HANDSHAKE_S:g} s, {limits.HANDSHAKE_BYTES_MAX // 1024} KiB",
        f"a body of {limits.BODY_BYTES_MAX // 1024} KiB",
        f"| {limits.MINTS}, {limits.MINTS_EACH} |",
        f"| {limits.REPORTS}, {limits.REPORTS_EACH} |",
        f"| {limits.ASKING_MAX:,}, {limits.ASKING_EACH_MAX} |",
        f"| {limits.DOWNLOADS}, {limits.DOWNLOADS_EACH} |",
        f"| {limits.DOWNLOAD_HIGH_WATER_BYTES >> 10} KiB, {limits.UNSENT_BYTES_MAX >> 10} KiB |",
        f"| {limits.DEMO_KEYS_BURST}, then one every {limits.DEMO_KEY_S:g} s |",
        f"| provider dial | {limits.DIAL_S:g} s |",
        f"{limits.WRITE_HIGH_WATER_BYTES // 1024} KiB",
        f"| stalled reader | {limits.STALLED_S:g} s |",
        f"{limits.PING_S:g} s; {limits.IDLE_S:g} s",
        f"| {limits.ADDRESSED_PING_S:g} s; {limits.PONG_S:g} s after the ping",
        f"{limits.DRAIN_S:g} s; {limits.CLOSE_S:g} s",
        f"| {limits.LATE_ANSWER_S:g} s; {limits.LATE_DRAINS_MAX}, then the oldest end",
        f"that still sends or reads | {limits.CATCH_UP_S:g} s",
        f"{limits.BATCH_RESPONSES} responses or {limits.BATCH_S:g} s",
        f"{limits.OUTBOX_BATCHES_MAX:,} batches",
        f"| {limits.DEPARTURES_PER_S} leave a second, and all within {limits.DRAIN_S:g} s",
        f"| stop of a gateway | {limits.GATEWAY_DRAIN_S:g} s",
        f"{limits.UNACKNOWLEDGED_MAX:,} batches |",
        f"after {limits.RESEND_S:g} s, doubling up to {limits.RESEND_S_MAX:g} s",
        f"{limits.SEGMENT_BYTES_MAX // 2**20} MiB or {limits.SEGMENT_S_MAX / 3600:g} h",
        f"{limits.SPOOL_RETENTION_S / 3600:g} h, {limits.SPOOL_RETENTION_BYTES // 2**20} MiB",
        f"{limits.AUTHORIZATION_CACHE_S_MAX:g} s, {limits.CACHED_AUTHORIZATIONS_MAX:,} keys",
    ):
        assert text in table, text


SWITCHED: list[tuple[str, str, str]] = [
    ("OpenAI", "gemini", "xai"),
    ("Gemini", "openai", "xai"),
    ("xAI", "openai", "gemini"),
]


@pytest.mark.parametrize(("whose", "first", "second"), SWITCHED)
def test_the_voices_of_the_page_are_those_of_the_code(whose: str, first: str, second: str) -> None:
    """SWITCH.md shows each voice of a provider, and what stands in for it at two others."""
    table = SWITCH.split(f"| {whose}'s voice |")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) >= 5
    for names, *shown in rows:
        for name in names.split(", "):
            assert shown == [voice_for(name, first), voice_for(name, second)], name


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.kind)
def test_switch_names_every_default_model(entry: CatalogEntry) -> None:
    """A client that names no model is served by these."""
    assert f"`{entry.kind}`" in SWITCH
    assert not entry.default_model or f"| `{entry.default_model}` |" in SWITCH


def test_switch_names_the_numbers_of_the_code() -> None:
    """How long a conversation lasts is repeated there, and when a connection is replaced."""
    for text in (
        f"at most {conversation.ITEMS_MAX} and {conversation.BYTES_MAX // 1024} KiB",
        f"A part above {conversation.ITEM_BYTES_MAX // 1024} KiB",
        f"a Gemini setup is above {setup.SETUP_BYTES_MAX // 1024} KiB",
        f"{unanswered.MESSAGES_MAX} messages, at most {unanswered.BYTES_MAX // 1024} KiB",
        f"pauses of {replacement.PAUSE_S:g} s, doubling to {longest_pause_s():g} s",
        f"none stood for {replacement.GOOD_S:g} s",
        f"{lifetimes.WARNING_S - lifetimes.GRACE_S:g} s before it",
        f"the client has {limits.FIRST_MESSAGE_S:g} s",
    ):
        assert text in " ".join(SWITCH.split()), text


def longest_pause_s() -> float:
    """Before the last try to replace a provider's connection."""
    tries = replacement.Replacement()
    while tries.may_try_again():
        longest_s = tries.pause_s(1.0)
    return longest_s
