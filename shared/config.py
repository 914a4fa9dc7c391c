"""Settings: click options with a named environment variable, checked together.

Every setting of a daemon is declared with ``setting(...)``. Its raw text is checked by
``Checker``, which collects all mistakes and reports them in one ``ConfigError`` before any socket
opens. A secret is read from its variable or, with ``_FILE`` appended to the name, from a file.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar, cast
from urllib.parse import urlsplit

import click

from shared import secret_files
from shared.errors import ConfigError, ExitCode, OperatorError, cause_of
from shared.standard_output import StandardOutput

T = TypeVar("T")

# Linux: sun_path holds 108 bytes with its terminating zero (unix(7)).
IPC_PATH_BYTES_MAX: Final = 107
_HOST_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
USAGE_CHARS_MAX: Final = 400  # of a message about wrong use
DEFAULT_RUN_DIR: Final = "var/run"
DEFAULT_USAGE_ENDPOINT: Final = f"ipc://{DEFAULT_RUN_DIR}/usage.sock"
DEFAULT_RPC_ENDPOINT: Final = f"ipc://{DEFAULT_RUN_DIR}/rpc.sock"
DEFAULT_EVENTS_ENDPOINT: Final = f"ipc://{DEFAULT_RUN_DIR}/events.sock"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. Port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def setting(
    name: str,
    *flags: str,
    default: str | None = None,
    help: str,  # noqa: A002 - click's own name for it
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A click option ``--some-name`` for the setting ``SOME_NAME``; its value stays text.

    ``flags`` are other names of the option. ``help`` says what it is with its unit and bound. click
    shows the variable and the default.
    """
    flag = "--" + name.lower().replace("_", "-")
    return click.option(
        flag,
        *flags,
        name.lower(),
        default=default,
        envvar=name,
        show_envvar=True,
        show_default=default is not None,
        help=help,
        metavar="TEXT",
    )


class Secret(str):
    """A secret that knows where it came from, for messages: its setting, and its file if any."""

    __slots__ = ("source",)
    source: str

    def __new__(cls, text: str, *, source: str) -> Self:
        """Keep ``source`` beside the text."""
        found = super().__new__(cls, text)
        found.source = source
        return found


class Checker:
    """Turns raw settings into values and remembers every mistake on the way."""

    def __init__(self, settings: Mapping[str, str | None]) -> None:
        """Take the keyword arguments that click collected."""
        self._settings = settings
        self._problems: list[str] = []

    def value(self, name: str, parse: Callable[[str], T]) -> T:
        """The setting ``name``, parsed. ``parse`` raises ``ValueError`` with "expected …"."""
        raw = self._settings.get(name.lower())
        if raw is None or raw == "":
            self.problem(f"{name}: found nothing; set {name} or {_flag(name)}")
            return cast(T, None)  # finish() raises before anybody looks at it
        return self._parsed(name, raw, parse)

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Like ``value``, but an unset or empty setting is None."""
        raw = self._settings.get(name.lower())
        return None if raw is None or raw == "" else self._parsed(name, raw, parse)

    def optional_secret(self, name: str) -> str:
        """Like ``secret``, but an empty text when there is none."""
        try:
            return read_secret(name) or ""
        except ConfigError as exc:
            self.problem(str(exc))
            return ""

    def secret(self, name: str, *, advice: str) -> str:
        """The text of ``NAME``, or of the file that ``NAME_FILE`` names.

        What is wrong is noted once, here: two sources, an unreadable file, or nothing (then with
        ``advice``, which says what to set), and the answer is an empty text. Never shown in a
        message. Secrets have no command-line option: arguments are public.
        """
        try:
            text = read_secret(name)
        except ConfigError as exc:
            self.problem(str(exc))
            return ""
        if not text:
            found = "nothing" if text is None else f"an empty key in {text.source}"
            self.problem(f"{name}: found {found}; {advice}")
        return text or ""

    @property
    def problems(self) -> int:
        """How many mistakes were noted so far."""
        return len(self._problems)

    def problem(self, line: str) -> None:
        """Note a mistake that only shows between settings."""
        self._problems.append(line)

    def finish(self) -> None:
        """Raise one ``ConfigError`` that lists everything that was wrong."""
        if self._problems:
            raise ConfigError("; ".join(self._problems), hint="run with --help for every setting")

    def _parsed(self, name: str, raw: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(raw)
        except ValueError as exc:
            self.problem(f"{name}: found {without_secrets(raw)!r}, {exc}")
            return cast(T, None)


def read_secret(name: str) -> Secret | None:
    """The secret ``name`` from its variable or its ``_FILE``; raises ``ConfigError``.

    An empty ``_FILE`` names no file: compose cannot leave a variable out, only leave it empty.
    """
    text, path = os.environ.get(name), os.environ.get(f"{name}_FILE") or None
    if text is not None and path is not None:
        raise ConfigError(f"{name} and {name}_FILE are both set; keep one")
    if path is None:
        return None if text is None else Secret(text, source=name)
    found = secret_files.read(f"{name}_FILE", Path(path)).strip()
    return Secret(found, source=f"{name}_FILE={path}")


# --- parsers: text in, value out, ValueError("expected …") ---------------------------------------


def address(text: str) -> Address:
    """``HOST:PORT`` or ``[IPV6]:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected HOST:PORT with a port from 0 to 65535, e.g. 127.0.0.1:8080")
    return Address(host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port))  # noqa: S104


def endpoint(text: str) -> str:
    """A ZeroMQ endpoint: ``ipc://PATH``, or ``tcp://LOOPBACK:PORT``."""
    scheme, _, rest = text.partition("://")
    if scheme == "ipc" and rest:
        if len(os.fsencode(rest)) > IPC_PATH_BYTES_MAX:
            raise ValueError(f"expected a path of at most {IPC_PATH_BYTES_MAX} bytes")
        return text
    if scheme == "tcp":
        host = address(rest).host
        if not _is_loopback(host):
            raise ValueError("expected a loopback address: plain TCP must not leave this machine")
        return text
    raise ValueError("expected ipc://PATH or tcp://127.0.0.1:PORT")


def websocket_url(text: str) -> str:
    """A provider's base URL; http(s) is read as ws(s). No query, no fragment, no trailing slash."""
    parts = urlsplit(text)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected ws://, wss://, http:// or https:// with a host and no query")
    try:
        _ = parts.port  # urlsplit checks the port only when it is asked for
    except ValueError:
        raise ValueError("expected a port from 0 to 65535") from None
    return parts._replace(scheme=scheme, path=parts.path.rstrip("/")).geturl()


def without_secrets(text: str) -> str:
    """``text`` for a message: where it is a URL, without what it may hold of a key."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    rest, mark, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    told = f"{'…' if user else ''}{at}{host}{slash}{path}"
    return f"{scheme}://{told}{'?…' if mark else ''}"


def host_names(text: str) -> frozenset[str]:
    """Names of hosts with commas between them, without ports; in lower case."""
    names = [name.strip().lower() for name in text.split(",")]
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("expected names of hosts without ports, like demo.example.org,example.org")
    return frozenset(names)


def number(low: float, high: float) -> Callable[[str], float]:
    """A number from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return value

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """An integer from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"expected an integer from {low} to {high}")
        return int(text)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of ``choices``, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in {choice.lower() for choice in choices}:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return next(choice for choice in choices if choice.lower() == text.lower())

    return parse


# --- what every command line does with an error --------------------------------------------------


def run(command: click.Command) -> NoReturn:
    """Run a click command; an ``OperatorError`` becomes one line on stderr and its exit code.

    So do wrong use of the command line, and an answer that cannot be written. A group without a
    command shows its help.
    """
    output = StandardOutput()
    try:
        # click would take it from how Python was started: `python -m pytest` has another one.
        command.main(prog_name=Path(sys.argv[0]).name, standalone_mode=False)
        output.flush()
    except OperatorError as exc:
        click.echo(f"{Path(sys.argv[0]).name}: {_printable(str(exc))}", err=True)
        sys.exit(exc.exit_code)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.UsageError as exc:
        click.echo(_usage_line(exc), err=True)
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        output.give_up()
        sys.exit(0)
    except OSError as exc:
        if not output.failed_with(exc):
            raise
        output.give_up()
        told = f"{Path(sys.argv[0]).name}: cannot write to standard output: {cause_of(exc)}"
        click.echo(f"{told} (what the command has changed stays so)", err=True)
        sys.exit(ExitCode.IO_ERROR)
    sys.exit(0)


def _usage_line(exc: click.UsageError) -> str:
    """What is wrong with a command line, and what shows how it is used."""
    name = exc.ctx.command_path if exc.ctx else Path(sys.argv[0]).name
    # An argument that it quotes may be long.
    message = " ".join(exc.format_message()[:USAGE_CHARS_MAX].split()).rstrip(".")
    return f"{name}: {_printable(message)} ({name} --help shows how it is used)"


def _printable(text: str) -> str:
    """``text`` for a terminal: what it quotes may have control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _flag(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
