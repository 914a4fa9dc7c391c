"""Draws the packages and their imports into docs/ARCHITECTURE.md, or checks that drawing.

``python -m checks.graph`` writes it, ``python -m checks.graph --check`` exits 1 when it differs
from the imports. A box is a package, or a module beside the packages; an arrow says that a module
in the first box imports one in the second. An arrow that others imply is left out: of a → b, b → c
and a → c the last one is not drawn.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import grimp

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "ARCHITECTURE.md"
BEGIN: Final = "<!-- drawn by python -m checks.graph: do not edit -->"
END: Final = "<!-- end of the drawing -->"
DAEMONS: Final = ("gateway", "accountd")
# Nearly every package imports these: arrows to them would hide the others.
EVERYWHERE: Final = {"gateway.limits", "gateway.background_tasks"}

Arrows = dict[str, set[str]]


def room_of(module: str, packages: Iterable[str]) -> str:
    """The package just below the daemon that holds ``module``, or the module itself."""
    room = ".".join(module.split(".")[:2])
    return room if room in packages else module


def arrows_between(graph: grimp.ImportGraph, daemon: str) -> Arrows:
    """The rooms of ``daemon``, each with the rooms that it imports from."""
    rooms = graph.find_children(daemon)
    found: Arrows = {room: set() for room in rooms - EVERYWHERE}
    for module in graph.find_descendants(daemon):
        here = room_of(module, rooms)
        for imported in graph.find_modules_directly_imported_by(module):
            there = room_of(imported, rooms)
            if imported.startswith(f"{daemon}.") and there not in {here, *EVERYWHERE}:
                found.setdefault(here, set()).add(there)
    return {room: to for room, to in found.items() if room not in EVERYWHERE}


def reachable(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    """Every room that ``start`` imports from, directly or not."""
    found: set[str] = set()
    waiting = list(arrows.get(start, ()))
    while waiting:
        room = waiting.pop()
        if room not in found:
            found.add(room)
            waiting += arrows.get(room, ())
    return found


def reduced(arrows: Mapping[str, set[str]]) -> Arrows:
    """``arrows`` without those that others imply. import-linter proves that there is no cycle."""
    return {
        room: {to for to in tos if not any(to in reachable(arrows, other) for other in tos - {to})}
        for room, tos in arrows.items()
    }


def drawn(graph: grimp.ImportGraph) -> str:
    """The drawing, as Mermaid's flow charts."""
    lines: list[str] = []
    for daemon in DAEMONS:
        lines += ["```mermaid", "flowchart TD"]
        arrows = reduced(arrows_between(graph, daemon))
        names = {room: room.removeprefix(f"{daemon}.") for room in arrows}
        for room in sorted(arrows):
            is_package = bool(graph.find_children(room))
            shape = f'["{daemon}/{names[room]}/"]' if is_package else f'("{names[room]}.py")'
            lines.append(f"    {names[room]}{shape}")
        for room in sorted(arrows):
            lines += [f"    {names[room]} --> {names[to]}" for to in sorted(arrows[room])]
        lines += ["```", ""]
    return "\n".join(lines).rstrip()


def main(arguments: list[str]) -> int:
    """Draw, or compare with ``--check``. The exit code is 1 when the drawing is stale."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{PAGE} has no place for the drawing: {BEGIN} … {END}"
    wanted = f"{before}{BEGIN}\n\n{drawn(grimp.build_graph(*DAEMONS))}\n\n{END}{after}"
    if wanted == page:
        return 0
    if "--check" in arguments:
        print(f"{PAGE.name}: the drawing of the packages is stale; run: python -m checks.graph")
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
