"""An import-linter contract: exactly the pure modules say "Pure." in their docstring.

A pure module takes values and ``now`` and returns values, so its tests need no socket and no clock.
The marker is the sentence "Pure." in the first paragraph of the module's docstring. Both directions
are checked: a marked module must not reach an impure one by any chain of imports, and a module that
reaches none must be marked. So the marker cannot be forgotten and cannot go stale. The module's own
code counts as well: a coroutine needs an event loop, and some calls (``open``) reach a file, the
terminal or the clock without an import.
"""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

MARKER: Final = re.compile(r"\bPure\.(?=\s|$)")
# Functions and methods that reach a file, the terminal or the clock without an import. Only names
# are compared, so a name that classes of this project have as well (``read``) is left out.
IMPURE_CALLS: Final = frozenset({"open", "print", "input", "breakpoint", "exec", "eval"})
IMPURE_METHODS: Final = frozenset(
    {
        "now", "today", "utcnow", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir",
        "unlink", "exists", "iterdir", "urandom", "urlopen",
    }
)  # fmt: skip


def read(module: str) -> ast.Module:
    """The parsed source of ``module``, without importing it."""
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text())


def is_marked(code: ast.Module) -> bool:
    """Whether the first paragraph of the module's docstring holds the sentence "Pure."."""
    docstring = ast.get_docstring(code) or ""
    return MARKER.search(docstring.split("\n\n")[0]) is not None


def impurity_of(code: ast.Module, submodules: Collection[str]) -> str:
    """The reason why the module's own code is impure; empty when there is none.

    ``submodules`` are impure parts of libraries that are pure otherwise, like ``urllib.request``:
    the graph of imports has ``urllib`` only.
    """
    for node in ast.walk(code):
        match node:
            case ast.Import(names=names) if found := {n.name for n in names} & set(submodules):
                return f"imports {min(found)}"
            case ast.ImportFrom(module=str(module), names=names) if found := (
                {module, *(f"{module}.{n.name}" for n in names)} & set(submodules)
            ):
                return f"imports {min(found)}"
            case ast.AsyncFunctionDef(name=name):
                return f"{name} is a coroutine, which needs an event loop"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                return f"calls {name}() in line {node.lineno}"
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_METHODS:
                return f"calls .{name}() in line {node.lineno}"
    return ""


def pure_modules(root: Path, packages: Sequence[str]) -> list[Path]:
    """The files below ``root`` of the modules in ``packages`` that are marked."""
    files = (path for package in packages for path in sorted((root / package).rglob("*.py")))
    return [path for path in files if is_marked(ast.parse(path.read_text()))]


class PureContract(Contract):
    """The ``pure`` contract. A module that imports one of ``impure_modules``, directly or not, is
    impure.
    """

    type_name: ClassVar[str] = "pure"

    packages = fields.ListField(subfield=fields.StringField())
    impure_modules = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Compare the marker of every module with its own code and the modules that it reaches."""
        code_by_module = {module: read(module) for module in self._modules(graph)}
        impure_names: Any = self.impure_modules
        submodules = {name for name in impure_names if "." in name}
        reasons = {
            module: why
            for module, code in code_by_module.items()
            if (why := impurity_of(code, submodules))
        }
        sources = {*self._external(graph), *reasons}
        impure = sources.union(*(graph.find_downstream_modules(source) for source in sources))
        stale: dict[str, str] = {}
        missing: list[str] = []
        for module, code in code_by_module.items():
            if is_marked(code) and module in impure:
                stale[module] = reasons.get(module) or self._chain(graph, module, sources)
            elif not is_marked(code) and module not in impure:
                missing.append(module)
        output.verbose_print(verbose, f"{len(impure)} modules are impure")
        return ContractCheck(
            kept=not stale and not missing, metadata={"stale": stale, "missing": missing}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each module that breaks the contract, and how to repair it."""
        for module, why in check.metadata["stale"].items():
            output.print_error(f'{module} says "Pure.", and {why}')
        for module in check.metadata["missing"]:
            output.print_error(f'{module} is pure: say "Pure." in its docstring\'s first paragraph')

    def _modules(self, graph: ImportGraph) -> Iterator[str]:
        """The modules to check: not the packages, whose ``__init__`` has only a docstring."""
        for package in self.packages:  # type: ignore[attr-defined]
            for module in sorted(graph.find_descendants(package)):
                if not graph.find_children(module):
                    yield module

    def _chain(self, graph: ImportGraph, module: str, sources: set[str]) -> str:
        found = (graph.find_shortest_chain(module, to) for to in sorted(sources))
        chains = sorted((tuple(chain) for chain in found if chain), key=len)
        return "imports " + " -> ".join(chains[0])

    def _external(self, graph: ImportGraph) -> list[str]:
        impure: Any = self.impure_modules
        return sorted(name for name in impure if name in graph.modules)
