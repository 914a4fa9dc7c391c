"""Limits of keys and accounts: the options that set them, and how they are shown."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from accountd.ctl.client import call
from accountd.ctl.confirming import confirmed
from accountd.ctl.output import show
from accountd.ctl.tables import details, table

Command = TypeVar("Command", bound=Callable[..., Any])

_NUMBER: Final = "N|none|default"
OPTIONS: Final = {
    "sessions": (_NUMBER, "Sessions and calls at a time."),
    "new-sessions": (_NUMBER, "Sessions and calls that begin in a minute."),
    "session-length": ("2h|90m|none|default", "The length of a session."),
    "session-tokens": (_NUMBER, "Tokens that a session uses."),
    "session-credits": (_NUMBER, "Credits that a session costs."),
    "spending": (
        "N/day|N/month|N/total|none|default",
        "Credits that are charged in a day or a month (UTC), or ever.",
    ),
    "providers": ("A,B|any|default", "The only providers, by their names."),
    "models": ("A,B|any|default", "The only models, by the names that clients use."),
}


def key_limit_options(command: Command) -> Command:
    """The options of a command that sets limits of a key."""
    return _with_options(command, list(OPTIONS))


def account_limit_options(command: Command) -> Command:
    """The same of an account: what it may spend is its credit."""
    return _with_options(command, [name for name in OPTIONS if name != "spending"])


def _with_options(command: Command, names: list[str]) -> Command:
    for name in reversed(names):
        metavar, text = OPTIONS[name]
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    return command


def limit(endpoint: str, method: str, params: Mapping[str, Any], as_json: bool) -> None:
    """Set limits, wait until gateways have forgotten the former ones, and show what holds."""
    found = call(endpoint, method, params)
    if "recall" in found:  # else nothing was to be changed
        found = confirmed(endpoint, found)
        del found["sessions_ended"]  # none: they go on
    show(found, as_json, _text)


def with_limits(found: Mapping[str, Any]) -> str:
    """A key or an account as text, with a line for each limit that holds or was set."""
    limits = found.get("limits", {})  # an older accountd has none
    lines = {
        f"limit: {name}": f"{each['value']} ({each['from']})"
        for name, each in limits.items()
        if each["from"] is not None
    }
    return details(_without_limits(found) | lines)


def _text(found: Mapping[str, Any]) -> str:
    rows = [{"limit": name, **each} for name, each in found["limits"].items()]
    return f"{details(_without_limits(found))}\n\n{table(rows, ('limit', 'value', 'from'))}"


def _without_limits(found: Mapping[str, Any]) -> dict[str, Any]:
    """The rest, with the sessions that are counted where that says anything."""
    shown = {name: value for name, value in found.items() if name != "limits"}
    if not shown.get("sessions_counted") and found.get("limits"):
        may_have = found["limits"]["sessions"]["value"]
        if may_have == "none":
            del shown["sessions_counted"]
    return shown
