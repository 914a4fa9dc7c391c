"""What may enter an image: the program and nothing of the machine that builds it."""

from tests.support.paths import ROOT


def test_the_build_context_is_what_the_image_copies() -> None:
    """Everything is ignored but the sources: no database, no key, no log can get in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copies = [
        source
        for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(copies)
    assert not {"var", "deploy", "deploy/secrets", ".", ".git"} & set(copies)
