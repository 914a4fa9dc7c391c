"""Which modules run: those that are edited, or those that setup.py has compiled."""

import ast
import hashlib
import importlib
import os
import runpy
import shutil
import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from gateway import build
from tests.support import tuned
from tests.support.paths import ROOT


@pytest.fixture
def setup() -> dict[str, Any]:
    """What setup.py defines."""
    pytest.importorskip("setuptools")
    return runpy.run_path(str(ROOT / "setup.py"))


def test_the_tests_run_the_variant_that_was_asked_for() -> None:
    """``make test-compiled`` would pass as well if it ran what ``make test`` runs."""
    assert build.is_compiled() is bool(os.environ.get("RTS_EXPECT_COMPILED"))


def test_every_module_runs_in_the_form_that_was_asked_for(setup: dict[str, Any]) -> None:
    """Not the one alone, of which a gateway's log line speaks."""
    names = {name.removesuffix(".py").replace("/", ".") for name in setup["MODULES"]}
    files = {name: str(importlib.import_module(name).__file__) for name in names}
    running = {name for name, file in files.items() if not file.endswith(".py")}
    wanted = names if os.environ.get("RTS_EXPECT_COMPILED") else set()
    assert running == build.compiled_modules() == wanted


def test_no_compiled_module_lies_beside_its_source() -> None:
    """Python would run it in place of a source that was edited since."""
    packages = ("gateway", "accountd", "shared", "migrations", "simulator")
    assert not [path for name in packages for path in (ROOT / name).rglob("*.so")]


def test_every_module_to_compile_is_there(setup: dict[str, Any]) -> None:
    """A module that was renamed would end the build of the image."""
    assert all((ROOT / name).is_file() for name in setup["MODULES"])
    assert setup["IMPORTED"] == build.PACKAGES, "a build cannot import what it builds"


@pytest.mark.parametrize(
    ("arguments", "wanted", "reason"),
    [
        (["setup.py", "editable_wheel"], "", "an editable install runs what is edited"),
        (["setup.py", "editable_wheel"], "yes", "an editable install runs what is edited"),
        (["setup.py", "bdist_wheel"], "no", "RTS_COMPILED=no"),
    ],
)
def test_what_stays_python_says_why(
    setup: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    wanted: str,
    reason: str,
) -> None:
    """An editable install is never compiled; any other unless it is told not to be."""
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("RTS_COMPILED", wanted)
    assert setup["why_plain"]() == reason


def test_without_a_compiler_python_runs(
    setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is missing: an installation must not fail for that."""
    monkeypatch.setattr(sys, "argv", ["setup.py", "bdist_wheel"])
    monkeypatch.delenv("RTS_COMPILED", raising=False)
    monkeypatch.setenv("CC", "/nonexistent")
    assert not setup["has_compiler"]()
    assert setup["why_plain"]() == "found no C compiler, or no header files of Python"


def test_without_its_types_nothing_is_compiled(
    setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without build isolation they may be missing: mypyc would refuse its own modules."""
    monkeypatch.setattr(sys, "argv", ["setup.py", "bdist_wheel"])
    monkeypatch.delenv("RTS_COMPILED", raising=False)
    monkeypatch.setitem(setup["why_plain"].__globals__, "NEEDED", ("mypyc", "no_such_library"))
    assert setup["why_plain"]() == "not installed: no_such_library"


def test_a_build_has_the_types_of_every_library_that_compiled_modules_reach(
    setup: dict[str, Any],
) -> None:
    """In an environment of its own, as pip makes it, mypy finds nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = {x.partition(">=")[0] for x in project["build-system"]["requires"]}
    untyped = {"msgpack", "mypy_extensions"}  # the second comes with mypy
    assert _libraries(setup["MODULES"]) - untyped == required - {"setuptools", "mypy"}
    assert {*setup["NEEDED"]} == required - {"setuptools", "mypy"} | {"mypyc"}
    bounds = {
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    }
    assert {x for x in project["build-system"]["requires"] if "setuptools" not in x} <= bounds


def _libraries(names: tuple[str, ...]) -> set[str]:
    """What these files import, and the modules of the project that they import."""
    found: set[str] = set()
    waiting, seen = [*names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for module in _imports(name):
            at = module.replace(".", "/")
            ours = [x for x in (f"{at}.py", f"{at}/__init__.py") if (ROOT / x).is_file()]
            waiting += ours
            if not ours:
                found.add(module.partition(".")[0])
    return found - sys.stdlib_module_names - {"gateway", "shared"}


def _imports(name: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {x.name for x in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{x.name}" for x in node.names)}
    return found


SOURCES = {
    "gateway/one.py": "from gateway.limits import A_S\n",
    "gateway/two.py": "b = 1\n",
    "gateway/limits.py": "A_S = 1\n",
    "gateway/web/page.js": "",
    "shared/three.py": "c = 1\n",
    "setup.py": "",
    "pyproject.toml": "",
    "constraints.txt": "",
}
SHARED_LIBRARY = f"cafe__mypyc{EXTENSION_SUFFIXES[0]}"
EXTENSION = f"gateway/one{EXTENSION_SUFFIXES[0]}"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The package ``gateway`` of a build with one compiled module, a copy of a checkout."""
    root, checkout = tmp_path / "built", tmp_path / "checkout"
    for name, text in SOURCES.items():
        for folder in (root, checkout):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    for name in (EXTENSION, SHARED_LIBRARY):
        (root / name).write_text("machine code")
    noted = [*(x for x in SOURCES if "/" in x and x.endswith(".py")), EXTENSION, SHARED_LIBRARY]
    digests = [(hashlib.sha256((root / name).read_bytes()).hexdigest(), name) for name in noted]
    note = root / "gateway" / build.COMPILED
    note.write_text("".join(f"{digest} {name}\n" for digest, name in digests))
    (root / build.COPY_OF).write_text(str(checkout))
    (root / build.MADE_OF).write_text(build.made_of(checkout))
    check(root / "gateway")
    return root / "gateway"


def check(package: Path) -> None:
    """As a gateway does that finds ``shared`` beside itself."""
    build.check(package, shared_package=package.parent / "shared")


@pytest.mark.parametrize(
    "name", ["gateway/one.py", "gateway/limits.py", "shared/three.py", EXTENSION]
)
@pytest.mark.parametrize("is_gone", [False, True])
def test_a_gateway_does_not_run_what_is_stale(built: Path, name: str, is_gone: bool) -> None:
    """Constants of other modules are compiled in; and Python runs what is not compiled any more."""
    path = built.parent / name
    what = "is missing" if is_gone else "was changed"
    if is_gone:
        path.unlink()
    else:
        path.write_text("edited")
    with pytest.raises(build.StaleBuildError, match=f"{name} {what}.*install the package"):
        check(built)


def test_a_module_that_is_not_compiled_any_more_is_not_said_to_be(built: Path) -> None:
    """Each of them counts, not the frame scanner alone."""
    assert build.is_compiled(built)
    (built.parent / EXTENSION).unlink()
    assert not build.is_compiled(built)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("change", ["edited", "deleted"])
def test_a_copy_is_stale_once_its_checkout_changes(built: Path, name: str, change: str) -> None:
    """Told by what the files hold, not by their times; whatever was compiled, or how."""
    path = built.parent.parent / "checkout" / name
    path.touch()
    check(built)
    if change == "edited":
        path.write_text("d = 1\n")
    else:
        path.unlink()
    with pytest.raises(build.StaleBuildError, match=f"checkout/{name} was changed.*make compiled"):
        check(built)


def test_a_copy_lacks_what_is_new_in_its_checkout(built: Path) -> None:
    """A module of a new name would be found nowhere, or in the checkout."""
    (built.parent.parent / "checkout" / "gateway" / "zero.py").touch()
    with pytest.raises(build.StaleBuildError, match=r"gateway/zero.py was changed"):
        check(built)


def test_a_copy_outlives_its_checkout(built: Path) -> None:
    """What was installed elsewhere is not stale because its source is gone."""
    shutil.rmtree(built.parent.parent / "checkout")
    check(built)


def test_a_module_compiled_in_place_is_refused(built: Path) -> None:
    """Nothing says of which source it is."""
    (built / f"two{EXTENSION_SUFFIXES[0]}").touch()
    with pytest.raises(build.StaleBuildError, match="unknown source"):
        check(built)


def test_modules_of_another_python_are_refused(built: Path) -> None:
    """It would run their sources in their place, and nobody would notice."""
    note = built / build.COMPILED
    note.write_text(note.read_text().replace(EXTENSION_SUFFIXES[0], ".cpython-39-x.so"))
    with pytest.raises(build.StaleBuildError, match="another Python"):
        check(built)


@pytest.mark.parametrize(
    ("constant", "is_fixed"),
    [
        ("gateway.limits.A_S", True),  # imported by a compiled module
        ("gateway.one.B_S", True),  # a compiled module's own
        ("gateway.limits.C_S", False),
        ("gateway.two.A_S", False),
    ],
)
def test_no_test_tunes_what_is_compiled_in(built: Path, constant: str, is_fixed: bool) -> None:
    """It would go on with the usual bound."""
    assert tuned.compiled_in({constant: 1.0}, built) == [constant] * is_fixed


def test_what_was_compiled_is_written_down() -> None:
    """In an installation that is compiled; one that is not has nothing to be stale."""
    assert (build.HERE / build.COMPILED).is_file() is build.is_compiled()
    build.check()
