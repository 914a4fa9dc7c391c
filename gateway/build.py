"""Which modules run: those that ``setup.py`` has compiled, or Python; and whether they are stale.

A compiled module runs in place of its source, with constants of the modules that it imports copied
into it, so a source that was changed since is not what runs. ``setup.py`` writes down what it has
compiled and from what (``compiled.txt``, beside this file), and ``make compiled`` what its copy of
a checkout was made of. ``cli`` asks before it serves.
"""

import hashlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

import shared
from shared.errors import OperatorError

HERE: Final = Path(__file__).resolve().parent
SHARED: Final = Path(shared.__path__[0]).resolve()
COMPILED: Final = "compiled.txt"
# Beside the package in a copy: where the checkout is, and what ``made_of`` said of it.
COPY_OF: Final = "copy-of"
MADE_OF: Final = "made-of"
# What compiled modules import, or may: mypyc copies constants of other modules into them.
PACKAGES: Final = ("gateway", "shared")
# Of a checkout: what the copy is built with.
_FILES: Final = ("setup.py", "pyproject.toml", "constraints.txt")


class StaleBuildError(OperatorError):
    """A compiled module is not of the source beside it."""


def is_compiled(package: Path = HERE) -> bool:
    """Whether the modules that every frame passes through are compiled, each of them."""
    files = [package.parent / name for name in _noted(package) if name.endswith(".so")]
    return bool(files) and all(path.is_file() for path in files)


def compiled_modules(package: Path = HERE) -> frozenset[str]:
    """The full names of the modules that run compiled; none where Python runs."""
    names = [name for name in _noted(package) if name.startswith("gateway/")]
    return frozenset(
        name.partition(".")[0].replace("/", ".") for name in names if name.endswith(".so")
    )


def made_of(checkout: Path) -> str:
    """What tells the sources of a checkout, and this Python, from others: a line for each."""
    files = [checkout / name for name in _FILES]
    for name in PACKAGES:
        files += sorted(x for x in (checkout / name).rglob("*") if "__pycache__" not in x.parts)
    lines = [f"{_digest(path)} {path.relative_to(checkout)}\n" for path in files if path.is_file()]
    return "".join([f"{hashlib.sha256(sys.version.encode()).hexdigest()} Python\n", *lines])


def check(package: Path = HERE, *, shared_package: Path = SHARED) -> None:
    """Raises ``StaleBuildError`` where what runs is not what its source says.

    ``shared_package`` is where ``shared`` is imported from: the copy of a checkout has none.
    """
    root, noted = package.parent, _noted(package)
    for name, digest in noted.items():
        room, _, rest = name.partition("/")
        path = shared_package / rest if room == "shared" else root / name
        if path.suffix == ".so" and f".{path.name.partition('.')[2]}" not in EXTENSION_SUFFIXES:
            raise StaleBuildError(f"{path} is of another Python", hint="install the package again")
        if not path.is_file():
            raise StaleBuildError(f"{path} is missing", hint="install the package again")
        if _digest(path) != digest:
            raise StaleBuildError(
                f"{path} was changed after it was compiled", hint="install the package again"
            )
    for path in package.rglob("*.so"):
        if str(path.relative_to(root)) not in noted:
            raise StaleBuildError(f"{path} was compiled from an unknown source", hint="remove it")
    if (root / COPY_OF).is_file():
        _check_copy(root, Path((root / COPY_OF).read_text(encoding="utf-8")))


def _check_copy(root: Path, checkout: Path) -> None:
    """A checkout that is gone changes no more."""
    if not checkout.is_dir():
        return
    then = (root / MADE_OF).read_text(encoding="utf-8").splitlines()
    changed = {line.partition(" ")[2] for line in {*then} ^ {*made_of(checkout).splitlines()}}
    if changed:
        raise StaleBuildError(
            f"{checkout / min(changed)} was changed after it was compiled", hint="run make compiled"
        )


def _noted(package: Path) -> dict[str, str]:
    """The digest of each file of a compiled installation, by name; nothing of another one."""
    note = package / COMPILED
    lines = note.read_text(encoding="ascii").splitlines() if note.is_file() else ()
    return {name: digest for digest, _, name in (line.partition(" ") for line in lines)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
