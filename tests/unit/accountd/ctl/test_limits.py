"""The options that set limits, and how limits are shown."""

from accountd.accounts.limit_words import ACCOUNT_LIMITS, KEY_LIMITS
from accountd.ctl.accounts import limit_account
from accountd.ctl.keys import limit_key
from accountd.ctl.limits import OPTIONS, with_limits


def test_every_limit_has_an_option() -> None:
    """accountctl loads nothing of accounts, so they are named twice."""
    for command, known in ((limit_key, KEY_LIMITS), (limit_account, ACCOUNT_LIMITS)):
        options = [parameter.opts[0] for parameter in command.params]
        own = [option for option in options if option[2:] in OPTIONS]
        assert own == [f"--{words.name}" for words in known]
    for words in KEY_LIMITS:
        metavar, _ = OPTIONS[words.name]
        assert metavar.endswith(f"|{words.nothing}|default")


def test_what_is_not_limited_is_not_shown() -> None:
    """What was set to none is; an older accountd says nothing of limits."""
    limits = {
        "sessions": {"value": "5", "from": "default"},
        "spending": {"value": "none", "from": "here"},
        "models": {"value": "any", "from": None},
    }
    shown = with_limits({"key_indicator": "k", "limits": limits})
    assert [" ".join(line.split()) for line in shown.splitlines()] == [
        "key indicator k", "limit: sessions 5 (default)", "limit: spending none (here)",
    ]  # fmt: skip
    assert with_limits({"label": "web"}) == "label  web"
