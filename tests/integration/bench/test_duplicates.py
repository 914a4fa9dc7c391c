"""The figure of duplicates is a bar, not only a line on a screen."""

import pytest

from bench import duplicates


@pytest.mark.parametrize(("rate_min", "code"), [(1, None), (10**12, 1)])
def test_below_the_bar_the_bench_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rate_min: int,
    code: int | None,
) -> None:
    """The figure is printed in any case; below the bar the exit code is 1."""
    assert duplicates.RATE_MIN == 50_000
    monkeypatch.setattr(duplicates, "DUPLICATES", 2_000)
    monkeypatch.setattr(duplicates, "RATE_MIN", rate_min)
    if code is None:
        duplicates.main()
    else:
        with pytest.raises(SystemExit) as raised:
            duplicates.main()
        assert isinstance(raised.value.code, str)  # a line on stderr, and exit code 1
    assert "duplicates refused: " in capsys.readouterr().out
