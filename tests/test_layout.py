"""Which module may import which: read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "framepair"
# What each part may import, beside itself. A part is the longest prefix that stands here.
ALLOWED = {
    "launch": ["framepair.nodes.launcher"],
    "framepair": ["framepair.protocol.client"],
    "framepair.__main__": ["framepair.nodes.launcher"],
    "framepair.testing": ["framepair.nodes.common.parent_death", "framepair.protocol"],
    "framepair.pytest_plugin": ["framepair.testing"],
    "framepair.nodes.producer": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.combiner": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.sink": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.recorder": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.monitor": ["framepair", "framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.relay": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.recordings": ["framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.launcher": ["framepair", "framepair.nodes.common", "framepair.protocol"],
    "framepair.nodes.estimate": [
        "framepair.nodes.launcher.names",
        "framepair.nodes.launcher.options",
        "framepair.nodes.launcher.python_path",
        "framepair.nodes.launcher.topology",
        "framepair.nodes.launcher.verbs",
        "framepair.nodes.common",
        "framepair.protocol",
    ],
    "framepair.nodes.doctor": [
        "framepair.nodes.estimate",
        "framepair.nodes.launcher.names",
        "framepair.nodes.launcher.options",
        "framepair.nodes.launcher.ports",
        "framepair.nodes.launcher.run_dir",
        "framepair.nodes.launcher.topology",
        "framepair.nodes.launcher.verbs",
        "framepair.nodes.common",
        "framepair.protocol",
    ],
    "framepair.nodes.common": ["framepair.protocol"],
    "framepair.protocol.client": [
        "framepair.protocol.memory",
        "framepair.protocol.clocks",
        "framepair.protocol.transport",
        "framepair.protocol.wire",
    ],
    "framepair.protocol.recording": ["framepair", "framepair.protocol.wire"],
    "framepair.protocol.memory": ["framepair.protocol.transport", "framepair.protocol.wire"],
    "framepair.protocol.clocks": ["framepair.protocol.transport", "framepair.protocol.wire"],
    "framepair.protocol.transport": ["framepair.protocol.wire"],
    "framepair.protocol.wire": [],
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in (ROOT / "launch.py", *sorted(PACKAGE.rglob("*.py")))}


def imports(name: str, *, at_import: bool = False) -> Iterator[str]:
    """Yield the modules of ours that ``name`` imports, at its own import or anywhere."""
    tree = ast.parse(MODULES[name].read_text())
    nodes = list(_at_import(tree.body) if at_import else ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, those for type checkers left out."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from _at_import(getattr(node, field, []))


def part_of(name: str) -> str:
    """Return the part that a module belongs to."""
    parts = [part for part in ALLOWED if name == part or name.startswith(f"{part}.")]
    return max(parts, key=len, default="")


def within(name: str, part: str) -> bool:
    # The package itself is its version and what a program of the user's imports: not all that is below it.
    return name == part or (part != "framepair" and name.startswith(f"{part}."))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_part_may(name: str) -> None:
    part = part_of(name)
    empty = name in ("framepair.nodes", "framepair.protocol")
    assert empty or within(name, part), f"{name} belongs to no part: give it a line in ALLOWED"
    for imported in imports(name):
        if imported.split(".")[0] in ("launch", "framepair", "nodes", "protocol"):
            allowed = [part, *ALLOWED[part]]
            assert any(within(imported, each) for each in allowed), f"{name} imports {imported}"


def test_no_import_goes_in_a_circle() -> None:
    wanted = {name: [m for m in imports(name, at_import=True) if m in MODULES] for name in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for imported in wanted[name]:
                visit(imported, (*way, name))
            done.add(name)

    for name in wanted:
        visit(name, ())


@pytest.mark.parametrize("name", [n for n, path in MODULES.items() if path.name == "__init__.py"])
def test_a_folder_says_nothing_itself(name: str) -> None:
    assert name == "framepair" or MODULES[name].read_text() == ""


def test_the_links_lead_into_the_package() -> None:
    for name in ("nodes", "protocol"):
        if (ROOT / name).is_symlink():
            assert (ROOT / name).resolve() == PACKAGE / name


def test_all_loggers_are_the_packages() -> None:
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                # The module's own name, which begins with framepair.
                assert ast.unparse(node) == "logging.getLogger(__name__)"
