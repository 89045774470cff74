"""Draw the picture of the packages and of the flow through them, from the imports in the source.

python docs/architecture.py

The picture is docs/pictures/architecture.svg. A test draws it again and compares.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from html import escape
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "robustbench_fgsm"
PICTURE = ROOT / "docs/pictures/architecture.svg"

FLOW = [
    ("cli/commands/evaluate.py", "read the options"),
    ("spec.py", "check epsilon and norm"),
    ("models/load.py", "load the classifier"),
    ("data/load.py", "load the images"),
    ("evaluation/evaluate.py", "evaluate at each epsilon"),
    ("engine/attack_batch.py", "attack one batch"),
    ("attack/gradient.py", "take the loss gradient, once"),
    ("attack/direction.py", "find the steepest direction, once"),
    ("attack/step.py", "step by each epsilon"),
    ("stats/tally.py", "add up integers"),
    ("stats/rate.py", "rates and their intervals"),
    ("evaluation/document.py", "make the JSON document"),
    ("report/documents/evaluation.py", "make the tables"),
]
"""Modules through which `rfgsm evaluate` goes, in this order, and what each one does."""

CALLER_RESULTS = {"plot", "report", "save", "to_pandas", "__repr__", "_repr_html_"}
"""Functions that may import a package above their own, to draw a result: the layout test allows them too."""

WIDTH, ROW, BOX, HEIGHT, LEFT = 1040, 62, 104, 28, 680
"""Sizes in pixels: the picture, one row, a box across and down, and the part that the packages take."""

Graph = dict[str, set[str]]


def module_imports(package: Path = PACKAGE) -> Graph:
    """Return the modules that each module imports, as paths inside the package."""
    modules = {file.relative_to(package).as_posix() for file in package.rglob("*.py")}
    graph: Graph = {}
    for module in sorted(modules):
        parent = ".".join([package.name, *module.split("/")[:-1]])
        names = imported_names(ast.parse((package / module).read_text(encoding="utf-8")), parent)
        paths = (path for name in names if (path := module_path(name, modules, package.name)))
        graph[module] = set(paths) - {module}
    return graph


def imported_names(tree: ast.AST, parent: str) -> Iterator[str]:
    """Yield the full names that a module imports, also inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name in CALLER_RESULTS:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), parent)
            yield from (f"{source}.{alias.name}" for alias in node.names)
        yield from imported_names(node, parent)


def module_path(name: str, modules: set[str], package: str) -> str | None:
    """Return the module that holds an imported name, or None for a name of another package."""
    parts = name.split(".")
    if parts[0] != package:
        return None
    inside = parts[1:]
    tries = ("/".join(inside[:end]) + suffix for end in range(len(inside), 0, -1) for suffix in (".py", "/__init__.py"))
    return next((path for path in tries if path in modules), None)


def package_imports(modules: Graph) -> Graph:
    """Return the packages that each package imports."""
    graph: Graph = defaultdict(set)
    for module, imports in modules.items():
        if not module.startswith("__"):
            graph[package_of(module)] |= {package_of(path) for path in imports} - {package_of(module)}
    return dict(graph)


def package_of(module: str) -> str:
    """Return the first part of a module's path."""
    return module.partition("/")[0].removesuffix(".py")


def reachable(graph: Graph, start: str) -> set[str]:
    """Return all nodes that imports lead to from `start`."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found


def without_shortcuts(graph: Graph) -> Graph:
    """Return the graph without the edges that a longer path replaces."""
    below = {node: reachable(graph, node) for node in graph}
    return {node: {to for to in ends if not any(to in below[other] for other in ends)} for node, ends in graph.items()}


def rows(graph: Graph) -> dict[str, int]:
    """Return the row of each node, 0 at the bottom: one more than the highest node that it imports."""
    found: dict[str, int] = {}
    for node in TopologicalSorter(graph).static_order():
        found[node] = 1 + max((found[to] for to in graph[node]), default=-1)
    return found


def positions(graph: Graph, row: dict[str, int]) -> tuple[dict[str, tuple[float, float]], list[list[str]]]:
    """Return the centre of each node, and each edge as a path of nodes.

    An edge that skips rows gets a bend in each of them, so that it does not run below a box.
    """
    paths, levels = [], defaultdict(list)
    for node in sorted(graph, key=lambda node: (row[node], node)):
        levels[row[node]].append(node)
    for node in sorted(graph):
        for to in sorted(graph[node]):
            bends = [f"{node}>{to}>{level}" for level in range(row[node] - 1, row[to], -1)]
            for bend in bends:
                levels[int(bend.rpartition(">")[2])].append(bend)
            paths.append([node, *bends, to])
    neighbours: Graph = defaultdict(set)
    for path in paths:
        for upper, lower in pairwise(path):
            neighbours[upper].add(lower)
            neighbours[lower].add(upper)
    across = {name: (at + 0.5) / len(names) for names in levels.values() for at, name in enumerate(names)}
    for _ in range(20):
        for level in sorted(levels):
            means = {name: sum(across[near] for near in neighbours[name]) / len(neighbours[name]) for name in levels[level]}
            levels[level].sort(key=lambda name: (round(means[name], 9), name))
            across |= {name: (at + 0.5) / len(levels[level]) for at, name in enumerate(levels[level])}
    top = max(levels)
    return {name: (across[name] * LEFT, 60 + ROW * (top - level)) for level, names in levels.items() for name in names}, paths


def draw(modules: Graph) -> str:
    """Return the SVG; raise ValueError if the flow names a module that the command does not import."""
    start = FLOW[0][0]
    lost = [module for module, _ in FLOW if module not in {start} | reachable(modules, start)]
    if lost:
        raise ValueError(f"every module of FLOW must be imported by {start}, got {', '.join(lost)}: correct FLOW")
    graph = without_shortcuts(package_imports(modules))
    row = rows(graph)
    centre, paths = positions(graph, row)
    height = 60 + ROW * max(row.values()) + 50
    lines = [f'<path d="{curve([centre[name] for name in path])}"/>' for path in paths]
    boxes = [
        box(name, *centre[name], [at for at, (module, _) in enumerate(FLOW, 1) if package_of(module) == name]) for name in graph
    ]
    steps = [
        f'<text x="{LEFT + 20}" y="{20 + 46 * at}"><tspan class="step">{at}</tspan> {escape(text)}'
        f'<tspan class="file" x="{LEFT + 40}" dy="17">{module}</tspan></text>'
        for at, (module, text) in enumerate(FLOW, 1)
    ]
    titles = [f'<text class="title" x="{x}" y="28">{text}</text>' for x, text in ((20, TITLE), (LEFT + 20, FLOW_TITLE))]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{TITLE}">'
    return "\n".join([head, STYLE, *titles, *lines, *boxes, *steps, "</svg>", ""])


TITLE = "Packages: a line leads down to what a package imports"
FLOW_TITLE = "The flow of rfgsm evaluate"
STYLE = """<style>
svg { background: #fff; font: 14px sans-serif } path { fill: none; stroke: #888 }
rect { fill: #eef3fa; stroke: #456 } .name { text-anchor: middle } .title { font-weight: bold }
.step { fill: #b0400a; font-weight: bold } .file { fill: #555; font-size: 12px }
</style>"""


def curve(points: list[tuple[float, float]]) -> str:
    """Return the SVG path that goes down through the points."""
    path = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f"C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
    return path


def box(name: str, x: float, y: float, steps: list[int]) -> str:
    """Return one package, with the numbers of its steps in the flow above it."""
    numbers = f'<text class="step" x="{x + BOX / 2 + 3:.0f}" y="{y - 4:.0f}">{", ".join(map(str, steps))}</text>' if steps else ""
    return (
        f'<rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" height="{HEIGHT}" rx="4"/>'
        f'<text class="name" x="{x:.0f}" y="{y + 5:.0f}">{name}</text>{numbers}'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(module_imports()), encoding="utf-8")
