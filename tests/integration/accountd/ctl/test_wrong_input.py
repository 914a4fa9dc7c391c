"""Every argument of every command of accountctl, given what it cannot be.

One line says what was found and what was expected; the exit code is not 0, and nothing in the
database has changed. An argument that is in no table here fails a test.
"""

import io
import itertools
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import click
import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.ctl.cli import main
from tests.support.harness import Cluster, cluster_folder
from tests.unit.test_docs import PROGRAMS, leaves

Wrong = tuple[str, int, str]  # a value, the exit code, and a part of the line

TEXT: list[Wrong] = [
    ("", 1, "found '', expected 1 to 256 printable characters"),
    ("a\nb", 1, r"found 'a\nb', expected 1 to 256 printable"),
    ("a\x1b[31m", 1, "expected 1 to 256 printable"),
    ("a\N{ZERO WIDTH SPACE}b", 1, r"found 'a\u200bb', expected 1 to 256 printable"),
    ("x" * 257, 1, "… of 257 characters, expected 1 to 256"),
    ("x" * 70_000, 2, "expected at most 65,536 bytes"),
    ("caf\udce9", 2, r"found 'caf\udce9', expected UTF-8 text"),
]
WORDS: list[Wrong] = [
    *TEXT,
    (" ", 1, "expected no blanks before or after it"),
    ("a ", 1, "expected no blanks before or after it"),
    ("cafe\N{COMBINING ACUTE ACCENT}", 1, r"'cafe\u0301', expected composed characters (NFC)"),
]
NEW_ID: list[Wrong] = [
    *TEXT,
    ("a b", 1, "found 'a b', expected no leading -, no blanks, and ASCII only"),
    ("-a", 1, "found '-a', expected no leading -"),
    ("t\N{CYRILLIC SMALL LETTER A}ken", 1, "expected no leading -, no blanks, and ASCII only"),
    ("cafe\N{COMBINING ACUTE ACCENT}", 1, "ASCII only"),
]
ACCOUNT: list[Wrong] = [
    *TEXT,
    ("nobody", 1, "not_found: no account 'nobody'; accountctl account list shows all"),
    ("TAKEN", 1, "not_found: no account 'TAKEN'"),
    ("t\N{CYRILLIC SMALL LETTER A}ken", 1, r"('t\u0430ken')"),
    ("-x", 2, "No such option"),
]
OPEN_ACCOUNT: list[Wrong] = [
    *ACCOUNT,
    ("gone", 1, "deleted: the account 'gone' was deleted at 20"),
]
EMAIL: list[Wrong] = [
    *WORDS,
    *(
        (value, 1, "expected an address like name@example.org")
        for value in ("new", "@example.org", "a@", "a@b@c", "a b@c.d", "a@b..c", "a.@b", "a@-b.c",
                      "A <a@b.c>", "a@b.c,d@e.f", f"{'x' * 251}@b.c",
                      "a@\N{FULLWIDTH LATIN SMALL LETTER B}.c")
    ),
    ("Taken@Example.org", 1, "already_exists: the account 'taken' has the email"),
]  # fmt: skip
NUMBER: list[Wrong] = [
    ("9" * 20, 2, "expected an integer of 64 bits"),
    ("9" * 5_000, 2, "expected an integer like 1000"),
    ("\N{FULLWIDTH DIGIT FIVE}", 2, "expected an integer like 1000"),
    *((v, 2, f"found {v!r}, expected an integer like 1000") for v in ("", "1_0", " 5", "5.0", "x")),
]
LIMIT: list[Wrong] = [
    *NUMBER,
    *((v, 1, f"found {v}, expected an integer from 1 to 1000") for v in ("0", "-1", "1001")),
]
PLAN: list[Wrong] = [*WORDS, ("Gold", 1, "plan_name: found 'Gold', expected Free, Pro")]
BEYOND = str(2**53 + 1)
SIGNED: list[Wrong] = [
    *NUMBER,
    (BEYOND, 1, f"found {BEYOND}, expected an integer from -9007199254740992"),
]
UNSIGNED: list[Wrong] = [*SIGNED[:-1], (BEYOND, 1, "expected an integer from 0 to"),
                         ("-1", 1, "found -1, expected an integer from 0 to")]  # fmt: skip
AMOUNT: list[Wrong] = [
    *NUMBER,
    *((v, 1, f"found {v}, expected an integer from 1 to") for v in ("0", "-5", BEYOND)),
]
TIME: list[Wrong] = [
    *TEXT,
    *(
        (value, 1, "expected a date and time like 2027-01-31T12:00:00Z")
        for value in ("soon", "1795953600", "2027-02-30", "2027-01-31T25:00", "31.01.2027",
                      "2027-01-31T12:00+25:00", "2027-01-31T12:00 Europe/Berlin",
                      "0001-01-01T00:00+23:00", "9999-12-31T23:59-23:00",
                      "\N{ARABIC-INDIC DIGIT TWO}027-01-31")
    ),
]  # fmt: skip
EXPIRY: list[Wrong] = [
    *TIME,
    ("2020-01-01", 1, "expires_at: found 2020-01-01T00:00:00.000Z, expected a time to come"),
    ("2026-11-01T12:00+14:00", 1, "found 2026-10-31T22:00:00.000Z, expected a time to come"),
]
KEY: list[Wrong] = [*TEXT, ("rsliv…00000", 1, "not_found: no key 'rsliv…00000'")]
REJECTED_ID: list[Wrong] = [
    *NUMBER,
    ("0", 1, "from 1 to 9223372036854775807"),
    ("-1", 2, "No such option"),
]
LONG = "x" * 70_000
COUNT: list[Wrong] = [
    *(
        (v, 1, f"found {v!r}, expected an integer from 1 to ")
        for v in (
            "",
            "0",
            "-1",
            "1.5",
            "1_0",
            " 5",
            "few",
            "9" * 20,
            "caf\xe9",
            "a\nb",
            "\N{FULLWIDTH DIGIT FIVE}",
        )
    ),
    ("Default", 1, ", none or default"),
    ("9" * 5_000, 1, "… of 5000 characters, expected an integer"),
    (LONG, 2, "expected at most 65,536 bytes"),
    (LONG[:60_000], 1, "expected text of at most 25800 bytes"),
    ("caf\udce9", 2, r"found 'caf\udce9', expected UTF-8 text"),
]
SESSIONS: list[Wrong] = [*COUNT, ("1000001", 1, "expected an integer from 1 to 1000000, none or")]
CREDITS: list[Wrong] = [*COUNT, (str(2**53 + 1), 1, "expected an integer from 1 to 900719925474")]
LENGTH: list[Wrong] = [
    *(
        (v, 1, f"found {v!r}, expected a time like 2h, 90m or 45s, up to 720h, none or default")
        for v in ("", "0m", "-1h", "90", "h", "1h30m", "721h", "1d", "2 h")
    ),
    (LONG, 2, "expected at most 65,536 bytes"),
]
SPENDING: list[Wrong] = [
    *(
        (v, 1, f"found {v!r}, expected credits from 1 to 9007199254740992 in a period, N/day, N/mo")
        for v in ("", "5000", "0/day", "-1/day", "5/week", "/total", "5/Day", "5/day/day")
    ),
    (f"{2**53 + 1}/day", 1, "N/day, N/month, N/total, none or default"),
]
PROVIDERS: list[Wrong] = [
    *(
        (v, 1, "expected providers: azure, gemini, openai, xai, or names that begin so, like azur")
        for v in ("", "none", "mistral", "OpenAI", "openai,", "openai,,xai", "azure_eu", "a\x1b[2J")
    ),
    (",".join(f"xai-{n}" for n in range(101)), 1, "expected at most 100 names, not 101, any or"),
    (LONG, 2, "expected at most 65,536 bytes"),
]
MODELS: list[Wrong] = [
    *(
        (v, 1, "letters, digits and signs, no blanks and no +; not")
        for v in ("", "none", "any,m", "a b", "a+b", "m,", "a\nb", "caf\xe9", "x" * 257)
    ),
    (",".join(map(str, range(101))), 1, "expected at most 100 names, not 101, any or default"),
    (LONG, 2, "expected at most 65,536 bytes"),
]
LIMITED: dict[str, list[Wrong]] = {
    "--sessions": SESSIONS,
    "--new-sessions": SESSIONS,
    "--session-length": LENGTH,
    "--session-tokens": CREDITS,
    "--session-credits": CREDITS,
    "--spending": SPENDING,
    "--providers": PROVIDERS,
    "--models": MODELS,
}
PROVIDER: list[Wrong] = [*TEXT, ("opnai", 1, "not_found")]
BY_PARAMETER: dict[str, list[Wrong]] = {
    "account create --email": EMAIL,
    "account create --id": [*NEW_ID, ("taken", 1, "an account with the id 'taken' exists"),
                            ("gone", 1, "the account 'gone' was deleted at 20"),
                            ("granted", 1, "a grant with the id 'opening-granted' exists")],
    "account create --plan": PLAN,
    "account create --tokens": SIGNED,
    "account create --topup": UNSIGNED,
    "account show account_id": ACCOUNT,
    "account list --search": TEXT,
    "account list --page": [*NUMBER, ("2", 1, "page: found 2, expected 1 to 1: there are 2 acc"),
                            ("0", 1, "page: found 0"), ("-1", 1, "page: found -1")],
    "account list --limit": LIMIT,
    "account topup account_id": [*OPEN_ACCOUNT[:-2], OPEN_ACCOUNT[-1]],  # a hyphen begins an amount
    "account topup amount": AMOUNT,
    "account topup --id": [*NEW_ID, ("order", 1, "conflict: grant 'order' exists: topup")],
    "account renew account_id": OPEN_ACCOUNT,
    "account renew --plan": PLAN,
    "account renew --debt": [("forget", 2, "'forget' is not one of 'keep', 'forgive'")],
    "account renew --id": [*NEW_ID, ("order", 1, "conflict: grant 'order' exists: topup")],
    "account adjust account_id": OPEN_ACCOUNT,
    "account adjust --topup": [*SIGNED, ("-999", 1, "topup: found -999, expected at least 0")],
    "account adjust --tokens": SIGNED,
    "account adjust --reason": WORDS,
    "account adjust --id": [*NEW_ID, ("order", 1, "conflict: grant 'order' exists: topup")],
    "account mark account_id": [*OPEN_ACCOUNT[:-2], OPEN_ACCOUNT[-1]],
    "account mark mark": [
        ("-1", 1, "mark: found -1, expected an integer from 0 to 9007199254740992"),
        (BEYOND, 1, f"mark: found {BEYOND}, expected an integer from 0"),
        ("9" * 20, 2, "expected an integer of 64 bits"),
        *((v, 2, f"found {v!r}, expected none or an integer") for v in ("", "few", "1_0", "None")),
    ],
    "account limit account_id": OPEN_ACCOUNT,
    **{f"account limit {option}": table for option, table in LIMITED.items()
       if option != "--spending"},
    "account estimates account_id": OPEN_ACCOUNT,
    "account enable account_id": OPEN_ACCOUNT,
    "account disable account_id": OPEN_ACCOUNT,
    "account email account_id": OPEN_ACCOUNT,
    "account email email": [x for x in EMAIL if not x[0].startswith("Taken")]
    + [("Other@example.ORG", 1, "already_exists: the account 'other' has the email")],
    "account delete account_id": ACCOUNT,
    "key create account_id": OPEN_ACCOUNT,
    "key create --label": WORDS,
    "key create --expires": EXPIRY,
    "key list account_id": ACCOUNT,
    "key show key_name": KEY,
    "key show --account": ACCOUNT[:-1],
    "key revoke key_name": KEY,
    "key revoke --account": ACCOUNT[:-1],
    "key spending key_name": KEY,
    "key spending --account": ACCOUNT[:-1],
    "key spending --limit": LIMIT,
    "key limit key_name": KEY,
    "key limit --account": ACCOUNT[:-1],
    **{f"key limit {option}": table for option, table in LIMITED.items()},
    "usage account_id": ACCOUNT,
    "usage --by": [("week", 2, "'week' is not one of 'day', 'session', 'model', 'kind'")],
    "usage --since": [*TIME, ("2027-01-01", 1, "expected a time before until, 2026-12-01")],
    "usage --until": TIME,
    "usage --limit": LIMIT,
    "backup destination": [("", 78, "is a folder (name a file in it)"), (".", 78, "is a folder"),
                           ("accounts.db", 78, "belongs to the database (choose another name)"),
                           ("a/b.db", 78, "no folder")],
    "backup --new-key-file": [("", 78, "Is a directory"), ("no", 78, "cannot read")],
    "export --format": [("xlsx", 2, "'xlsx' is not one of 'csv', "), ("", 2, "'' is not one of")],
    "export --account": [("", 1, "accounts: found [''], expected texts of 1 to 256 characters"),
                         *(wrong for wrong in ACCOUNT[1:-1] if len(wrong[0]) != 257)],
    "export --since": [*TIME, ("2027-01-01", 1, "expected a time before until, 2026-12-01")],
    "export --until": TIME,
    "export --after": [*NUMBER, ("-1", 1, "after: found -1, expected an integer from 0 to"),
                       ("1", 1, "after: found row 1, and the ledger's last is 0: it was restored")],
    "export -o": [(".", 2, "is a directory"), ("", 1, ".: expected a file or nothing, found"),
                  ("no/x.csv", 74, "no/x.csv: No such file or directory (nothing was exported"),
                  ("/dev/null", 1, "/dev/null: expected a file or nothing")],
    "export --cursor": [(".", 2, "is a directory"), ("x.json", 2, "--cursor goes with -o, not")],
    "export --issuer": [("I", 2, "--issuer, --currency, --credit-price and --prepaid go")],
    "export --currency": [("USD", 2, "--credit-price and --prepaid go with --format focus")],
    "export --credit-price": [("1", 2, "--credit-price and --prepaid go with --format focus")],
    "export --source": [("here", 2, "--source goes with --format cloudevents")],
    "rates check card": [("no.toml", 2, "'no.toml' does not exist"), (".", 2, "is a directory"),
                         ("", 2, "does not exist"), ("accounts.db", 78, "accounts.db: ")],
    "rates check --since": TIME,
    "rejected list --limit": LIMIT,
    "rejected show rejected_id": [*REJECTED_ID, ("7", 1, "not_found")],
    "rejected retry ids": [*REJECTED_ID, ("7", 1, "no such rejected usage")],
    "audit --settle": WORDS,
    "rejected dismiss ids": [*REJECTED_ID, ("7", 1, "no such rejected usage")],
    "rejected dismiss --reason": WORDS,
    "sessions list --account": ACCOUNT[:-1],
    "sessions list --limit": LIMIT,
    "sessions show account_id": [*TEXT, ("nobody", 1, "not_found: no stored conversation")],
    "sessions show session_id": [*TEXT, ("nothing", 1, "not_found: no stored conversation")],
    "sessions end session_id": TEXT,
    "sessions end --key": KEY,
    "sessions end --account": ACCOUNT[:-1],
    "sessions delete --account": ACCOUNT[:-1],
    "sessions delete --session": TEXT,
    "providers drain provider": PROVIDER,
    "providers resume provider": [*TEXT, ("openai", 1, "'openai' is not drained")],
}  # fmt: skip
# What else each command needs, so that only the one argument is wrong.
NEEDED: dict[str, dict[str, str]] = {
    "account create": {"--email": "new@example.org"},
    "account renew": {"account_id": "taken"},
    "account topup": {"account_id": "taken", "amount": "5"},
    "account adjust": {"account_id": "taken", "--tokens": "5", "--reason": "because"},
    "account mark": {"account_id": "taken", "mark": "5"},
    "account limit": {"account_id": "taken", "--sessions": "5"},
    "account estimates": {"--reset": ""},
    "account email": {"account_id": "taken", "email": "new@example.org"},
    "key create": {"account_id": "taken", "--label": "web"},
    "key show": {"key_name": "rsliv"},
    "key spending": {"key_name": "rsliv"},
    "key limit": {"key_name": "rsliv", "--sessions": "5"},
    "key revoke": {"key_name": "rsliv"},
    "usage": {"account_id": "taken", "--until": "2026-12-01"},
    "backup": {"destination": "b.db"},
    "export": {"--format": "csv", "--until": "2026-12-01"},
    "rejected dismiss": {"ids": "7", "--reason": "because"},
    "sessions show": {"account_id": "taken", "session_id": "s"},
}
WHOLE: list[tuple[tuple[str, ...], int, str]] = [
    (("fly",), 2, "No such command 'fly'"),
    (("account", "fl\ny"), 2, "No such command"),
    (("account", "show"), 2, "Missing argument 'ID'"),
    (("account", "show", "taken", "more\x1b[2J"), 2, "unexpected extra argument"),
    (("account", "show", "taken", "x" * 9_000), 2, "unexpected extra argument"),
    (("account", "create"), 2, "Missing option '--email'"),
    (("account", "limit", "taken", "--spending", "5/day"), 2, "No such option"),
    (("account", "estimates", "taken"), 2, "Missing option '--reset'"),
    (
        ("account", "adjust", "taken", "--topup", "0", "--reason", "r"),
        1,
        "expected topup or tokens other than 0",
    ),
    (("usage", "taken", "--by", "day", "--limit", "5"), 1, "limit: it goes with rows"),
    (("usage", "taken", "--json", "--csv"), 2, "--json and --csv exclude each other"),
    (("export", "--format", "focus", "--currency", "USD"), 2, "focus needs what the ledger does"),
    *(
        (
            (
                "export",
                "--format",
                "focus",
                "--issuer",
                issuer,
                "--currency",
                currency,
                "--credit-price",
                price,
            ),
            2,
            message,
        )
        for issuer, currency, price, message in (
            (" ", "USD", "1", "--issuer: found ' ', expected a name"),
            ("a\nb", "USD", "1", r"--issuer: found 'a\nb', expected a name"),
            ("I", "usd", "1", "--currency: found 'usd', expected a code like USD"),
            ("I", "USD", "1,5", "--credit-price: found '1,5', expected a number like 0.00002"),
            ("I", "USD", "-1", "--credit-price: found '-1', expected a number"),
            ("I", "USD", "1e-5", "--credit-price: found '1e-5', expected a number"),
            ("I", "USD", "\N{FULLWIDTH DIGIT FIVE}", "expected a number like 0.00002"),
        )
    ),
    (("export", "--format", "cloudevents", "--source", "a b"), 2, "--source: found 'a b', expe"),
    (("export", "--format", "csv", "--cursor", "c", "-o", "x", "--after", "1"), 2, "not with --af"),
    (("sessions", "end"), 2, "found no ID, no --key and no --account"),
    (("sessions", "delete"), 2, "found neither --account nor --session"),
    (("providers", "drain", "--force", "a b"), 1, "found 'a b', expected no leading -, no blanks"),
    (("providers", "drain", "--force", "x" * 65), 1, "provider: expected at most 64 characters"),
    (("--accountd-rpc-endpoint", "tcp://192.0.2.1:5000", "audit"), 78, "expected a loopback"),
    (("--accountd-rpc-endpoint", "ipc://\udce9", "audit"), 2, "expected UTF-8 text"),
    (("--accountd-rpc-endpoint", "", "audit"), 78, "ACCOUNTD_RPC_ENDPOINT: found nothing"),
]
TABLES = ("accounts", "api_keys", "credit_grants", "sessions", "rejected_usage",
          "drained_providers", "low_credit_warnings", "usage", "handles", "recalls")  # fmt: skip


class Operator:
    """Runs accountctl in this process, and reads the database with the key."""

    def __init__(self, cluster: Cluster) -> None:
        self._database = sqlcipher.connect(str(cluster.folder / "accounts.db"))
        key = (cluster.folder / "db.key").read_text()
        self._database.execute(f"PRAGMA key = \"x'{key}'\"")

    def run(self, *words: str) -> tuple[int, str, str]:
        """The exit code, stdout and stderr of a command."""
        out, err = io.StringIO(), io.StringIO()
        sys.argv[:] = ["accountctl", *words]
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), out.getvalue(), err.getvalue()

    def stored(self) -> list[Any]:
        """All rows that a command may change."""
        return [self._database.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """Three accounts: one that is used, another one, and one that was deleted; and a grant."""
    with cluster_folder() as cluster, pytest.MonkeyPatch.context() as patch:
        cluster.start_accountd()
        for account in ("taken", "other", "gone"):
            cluster.create_account(account, tokens=100)
        cluster.accountctl("account", "delete", "gone")
        cluster.accountctl("account", "topup", "other", "7", "--id", "order")
        cluster.accountctl("account", "topup", "other", "7", "--id", "opening-granted")
        patch.setenv("ACCOUNTD_RPC_ENDPOINT", cluster.env["ACCOUNTD_RPC_ENDPOINT"])
        patch.setattr(sys, "argv", [*sys.argv])
        patch.chdir(cluster.folder)
        yield Operator(cluster)
        assert cluster.audit()["ok"]
        assert cluster.accountd is not None
        assert cluster.accountd.complaints() == []


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Every argument and every option with a value, of every command, by its full name."""
    for name, command in leaves("", PROGRAMS["accountctl"]):
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                yield f"{name} {parameter.name}".strip(), parameter
            elif not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield f"{name} {parameter.opts[0]}".strip(), parameter


def test_every_argument_has_a_table() -> None:
    """A new one needs a line here, and one that is gone leaves none."""
    assert {name for name, _ in parameters()} == set(BY_PARAMETER)


CASES = [(name, *wrong) for name, table in BY_PARAMETER.items() for wrong in table]


def command_of(name: str, value: str) -> tuple[str, ...]:
    """The words of a command in which one parameter has this value."""
    command, _, parameter = name.rpartition(" ")
    given = {**NEEDED.get(command, {}), parameter: value}
    options = [(k, v) if v or k == parameter else (k,) for k, v in given.items() if k[0] == "-"]
    arguments = [v for k, v in given.items() if k[0] != "-"]
    return (*command.split(), *itertools.chain(*options), *arguments)


@pytest.mark.parametrize(("name", "value", "code", "message"), CASES)
def test_a_wrong_argument(
    operator: Operator, name: str, value: str, code: int, message: str
) -> None:
    """Refused in one line that shows, and nothing has changed."""
    check(operator, command_of(name, value), code, message)


@pytest.mark.parametrize(("words", "code", "message"), WHOLE)
def test_a_wrong_command(
    operator: Operator, words: tuple[str, ...], code: int, message: str
) -> None:
    """What concerns several arguments, or none."""
    check(operator, words, code, message)


def check(operator: Operator, words: tuple[str, ...], code: int, message: str) -> None:
    """One printable line of moderate length, the exit code, and the rows as they were."""
    before = operator.stored()
    found, out, err = operator.run(*words)
    assert (found, out) == (code, ""), err
    assert message in err
    (line,) = err.splitlines()
    assert line.startswith("accountctl")
    assert line.isprintable()
    assert len(line) < 600
    assert operator.stored() == before
