"""The gateway as production runs it, beside the editable one: installed from a wheel, compiled.

``python -m deploy.compiled`` (``make compiled``) builds it into ``var/compiled``, unless what is
there was made of the sources as they are. With that folder first in ``PYTHONPATH`` the gateway runs
the compiled modules. One that finds the checkout changed since does not start. The folder holds the
package ``gateway`` alone: the others, none of which is compiled, come from the checkout as ever.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from gateway.build import COPY_OF, MADE_OF, PACKAGES, made_of

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "compiled"
_FILES = ("setup.py", "pyproject.toml", "README.md")


def is_current() -> bool:
    """Whether the folder was made of the sources as they are."""
    note = FOLDER / MADE_OF
    return note.is_file() and note.read_text(encoding="utf-8") == made_of(ROOT)


def build() -> None:
    """Make the folder anew. Raises ``CalledProcessError`` where nothing can be compiled."""
    before = made_of(ROOT)
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:  # a build leaves files beside the sources
        source, installed = Path(folder, "source"), Path(folder, "installed")
        source.mkdir()
        for name in _FILES:
            shutil.copy(ROOT / name, source)
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, source / package, ignore=ignored)
        _install(source, into=installed, environment=Path(folder, "venv"))
        FOLDER.mkdir(parents=True)
        for path in (installed / "gateway", *installed.glob("*.so")):
            shutil.move(path, FOLDER)
    (FOLDER / COPY_OF).write_text(str(ROOT), encoding="utf-8")
    (FOLDER / MADE_OF).write_text(before, encoding="utf-8")


def _install(source: Path, *, into: Path, environment: Path) -> None:
    """As in the image, by an environment with no library in it: mypy looks for types there too."""
    venv.create(environment, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "install", "--quiet"]
    pins = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(ROOT / "constraints.txt"))
    env = {**os.environ, "RTS_COMPILED": "yes", **pins}
    options = ["--disable-pip-version-check", "--no-deps", "--target", str(into)]
    subprocess.run([*pip, *options, str(source)], env=env, check=True)


def ensure() -> Path:
    """The folder, built where it is not current. Raises ``CalledProcessError`` as ``build``."""
    if not is_current():
        where = FOLDER.relative_to(ROOT)
        print(f"compiling into {where} (a minute) …", file=sys.stderr, flush=True)
        build()
    return FOLDER


if __name__ == "__main__":
    ensure()
