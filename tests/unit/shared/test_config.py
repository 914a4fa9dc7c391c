"""Settings: every mistake is named once, and a secret's mistake only by what it is."""

from pathlib import Path

import click
import pytest

from shared.config import Checker, run
from shared.errors import ConfigError

ADVICE = "set THE_KEY"
SECRETS = [
    ({}, "THE_KEY: found nothing; set THE_KEY"),
    ({"THE_KEY": ""}, "THE_KEY: found an empty key in THE_KEY; set THE_KEY"),
    ({"THE_KEY_FILE": ""}, "THE_KEY: found nothing; set THE_KEY"),
    ({"THE_KEY_FILE": "empty"}, "THE_KEY: found an empty key in THE_KEY_FILE=empty; set THE_KEY"),
    ({"THE_KEY_FILE": "missing"}, "THE_KEY_FILE: cannot read missing: No such file or directory"),
    ({"THE_KEY_FILE": "binary"}, "THE_KEY_FILE: found binary that is no UTF-8, expected text"),
    (
        {"THE_KEY_FILE": "open"},
        "THE_KEY_FILE: found open with mode 0644, expected a file that others can neither read nor"
        " write; run: chmod o-rwx open",
    ),
    (
        {"THE_KEY_FILE": "shared/secret"},
        "THE_KEY_FILE: found shared/secret in shared, in which others can write, expected a folder"
        " where they cannot replace the file; run: chmod o-w shared",
    ),
    (
        {"THE_KEY_FILE": "shared/link"},
        "THE_KEY_FILE: found shared/link in shared, in which others can write, expected a folder"
        " where they cannot replace the file; run: chmod o-w shared",
    ),
    ({"THE_KEY_FILE": "."}, "THE_KEY_FILE: cannot read .: Is a directory"),
    ({"THE_KEY": "a", "THE_KEY_FILE": "good"}, "THE_KEY and THE_KEY_FILE are both set; keep one"),
    ({"THE_KEY": "", "THE_KEY_FILE": "good"}, "THE_KEY and THE_KEY_FILE are both set; keep one"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an empty, a binary and a good secret."""
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("binary").write_bytes(b"\xff\xfe")
    Path("good").write_text("secret\n")
    Path("open").write_text("secret\n")
    for name, mode in (("empty", 0o600), ("binary", 0o400), ("good", 0o640), ("open", 0o644)):
        Path(name).chmod(mode)
    for name, mode in (("shared", 0o777), ("sticky", 0o1777)):
        Path(name).mkdir()
        Path(name).chmod(mode)
        Path(name, "secret").write_text("secret\n")
        Path(name, "secret").chmod(0o600)
        Path(name, "link").symlink_to("../good")
    Path("link").symlink_to("good")


@pytest.mark.parametrize(("variables", "complaint"), SECRETS)
def test_a_secret_has_one_complaint(
    variables: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing found, nothing in it, or nothing that can be read: never two of them."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checker = Checker({})
    assert checker.secret("THE_KEY", advice=ADVICE) == ""
    with pytest.raises(ConfigError) as caught:
        checker.finish()
    assert str(caught.value) == f"{complaint} (run with --help for every setting)"


@pytest.mark.parametrize(
    "variables",
    [
        {"THE_KEY": "secret"},
        *({"THE_KEY_FILE": name} for name in ("good", "link", "sticky/secret", "sticky/link")),
    ],
)
def test_a_secret_is_read(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From its variable, or from the file without the line's end."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checker = Checker({})
    assert checker.secret("THE_KEY", advice=ADVICE) == "secret"
    checker.finish()


def test_an_error_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """It may quote what a client called something."""

    @click.command()
    def fail() -> None:
        raise ConfigError("found a\x1b[2Jb\r\nc")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["/usr/bin/accountctl"])
        with pytest.raises(SystemExit) as ended:
            run(fail)
    assert ended.value.code == 78
    assert capsys.readouterr().err == "accountctl: found a\ufffd[2Jb\ufffd\ufffdc\n"
