# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which modules of lib/dockin import which others, from their syntax trees."""

from __future__ import annotations

import ast
import pathlib
import typing

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "lib" / "dockin"


def modules() -> dict[str, pathlib.Path]:
    """Return the modules by their names without "dockin."."""
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: path for name, path in names.items() if path.name != "__init__.py"}


def imports(text: str, types: bool = True) -> set[str]:
    """Return the modules that a module's text imports; without types, not those of TYPE_CHECKING."""
    found = set()
    for node in _nodes(ast.parse(text), types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in modules() if f"dockin.{name}" in found}


def all_imports(types: bool = True) -> dict[str, set[str]]:
    """Return {module: the modules that it imports}."""
    return {name: imports(path.read_text(encoding="utf-8"), types) for name, path in modules().items()}


def room(module: str) -> str:
    """Return the package of a module; for a module in no package its own name."""
    return module.partition(".")[0]


def _nodes(node: ast.AST, types: bool) -> typing.Iterator[ast.AST]:
    """Yield a node and all below it."""
    yield node
    for child in ast.iter_child_nodes(node):
        if types or not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield from _nodes(child, types)
