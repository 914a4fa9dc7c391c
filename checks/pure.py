"""An import-linter contract: a module that calls itself pure is, and one that is says so.

A pure module decides: it takes values and ``now`` and returns values, so a test needs no socket and
no clock. Its docstring says so with the sentence "Pure." in the first paragraph, which is what a
reader sees and what this contract reads. Both directions are checked: a marked module must not
reach an impure one by any chain of imports, and a module that reaches none must be marked. So the
marker cannot be forgotten and cannot go stale. A coroutine counts as impure: it needs a loop.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

MARKER: Final = re.compile(r"\bPure\.(?=\s|$)")


def read(module: str) -> ast.Module:
    """The code of ``module``, which is not imported for it."""
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text())


def is_marked(code: ast.Module) -> bool:
    """Whether the first paragraph of the module's docstring holds the sentence "Pure."."""
    docstring = ast.get_docstring(code) or ""
    return MARKER.search(docstring.split("\n\n")[0]) is not None


def is_asynchronous(code: ast.Module) -> bool:
    """Whether it defines coroutines: those need an event loop, whatever is imported."""
    return any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(code))


def pure_modules(root: Path, packages: Sequence[str]) -> list[Path]:
    """The files below ``root`` of the modules in ``packages`` that are marked."""
    files = (path for package in packages for path in sorted((root / package).rglob("*.py")))
    return [path for path in files if is_marked(ast.parse(path.read_text()))]


class PureContract(Contract):
    """The ``pure`` contract. ``impure_modules`` are what makes a module impure, directly or not."""

    type_name: ClassVar[str] = "pure"

    packages = fields.ListField(subfield=fields.StringField())
    impure_modules = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Compare every module's marker with what it reaches."""
        reaching = self._reach_impure(graph)
        stale: dict[str, str] = {}
        missing: list[str] = []
        for module in self._modules(graph):
            code = read(module)
            is_impure = module in reaching or is_asynchronous(code)
            if is_marked(code) and is_impure:
                stale[module] = self._why(graph, module)
            elif not is_marked(code) and not is_impure:
                missing.append(module)
        output.verbose_print(verbose, f"{len(reaching)} modules reach an impure one")
        return ContractCheck(
            kept=not stale and not missing, metadata={"stale": stale, "missing": missing}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say what is wrong, and what to do."""
        for module, why in check.metadata["stale"].items():
            output.print_error(f'{module} says "Pure.", and {why}')
        for module in check.metadata["missing"]:
            output.print_error(f'{module} is pure: say "Pure." in its docstring\'s first paragraph')

    def _modules(self, graph: ImportGraph) -> Iterator[str]:
        """The modules with code: packages are maps, and so are their ``__init__``."""
        for package in self.packages:  # type: ignore[attr-defined]
            for module in sorted(graph.find_descendants(package)):
                if not graph.find_children(module):
                    yield module

    def _reach_impure(self, graph: ImportGraph) -> set[str]:
        found: set[str] = set()
        for module in self._present(graph):
            found |= {module, *graph.find_downstream_modules(module)}
        return found

    def _why(self, graph: ImportGraph, module: str) -> str:
        found = (graph.find_shortest_chain(module, to) for to in self._present(graph))
        chains = sorted((tuple(chain) for chain in found if chain), key=len)
        return "imports " + " -> ".join(chains[0]) if chains else "defines coroutines"

    def _present(self, graph: ImportGraph) -> list[str]:
        impure: Any = self.impure_modules
        return sorted(name for name in impure if name in graph.modules)
