"""House rules that a reader should be able to rely on: import directions, sizes, where optional packages live."""

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["backbones", "heads", "zoo", "benchmarks"]
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS, MAX_NESTING = 500, 60, 10, 4
TABLES_OF_FACTS = ("zoo/cards/", "zoo/recipes/")
# Each of these is imported in one place, so that the rest of the zoo runs without it.
ONE_FILE_ONLY = [
    *("decord", "triton", "mamba_ssm", "causal_conv1d", "transformers", "huggingface_hub", "filelock"),
    *("onnx", "onnxscript", "onnxruntime"),
]
CREATORS = {"create_model", "create_backbone", "create_tokenizer"}
LIGHTNING_ALLOWED = ("zoo/data/datamodule.py", "zoo/training/", "benchmarks/speed/")


def files_of(package: str) -> list[Path]:
    return [path for path in FILES if name_of(path).startswith(f"{package}/")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


@functools.cache
def imports(path: Path) -> list[str]:
    """Dotted names that a file imports, wherever in the file."""
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno} relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in nodes_of(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def is_kernel(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return "triton.jit" in {ast.unparse(decorator) for decorator in function.decorator_list}


def depth_of_nesting(node: ast.AST) -> int:
    """Levels of if / for / while / try / with below a node; an `elif` is on the level of its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        elif_branch = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        opens = isinstance(child, ast.If | ast.For | ast.While | ast.Try | ast.With) and not elif_branch
        deepest = max(deepest, depth_of_nesting(child) + opens)
    return deepest


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_ones_in_this_repository(package):
    assert Path(importlib.import_module(package).__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    for path in files_of(package):
        rank = PACKAGES.index(path.relative_to(ROOT).parts[0])
        upward = [name for name in imports(path) if name.split(".")[0] in PACKAGES[rank + 1 :]]
        assert not upward, f"{name_of(path)} imports upward: {upward}"
        odd = [name for name in imports(path) if name.split(".")[0] == "tests" or name.endswith(".*")]
        assert not odd, f"{name_of(path)} imports {odd}"


@pytest.mark.parametrize("path", [path for path in FILES if name_of(path).startswith("heads/")], ids=name_of)
def test_heads_know_the_vocabulary_of_backbones_only(path):
    allowed = ("backbones.contract", "backbones.tokens", "backbones.positions", "backbones.layers")
    assert not [name for name in imports(path) if name.startswith("backbones") and not name.startswith(allowed)]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("zoo/objectives/", ("zoo.training", "zoo.data", "zoo.cards", "zoo.registry")),
        ("zoo/training/", ("zoo.objectives.",)),
        ("zoo/data/", ("zoo.objectives.",)),
        ("zoo/cards/", ("zoo.objectives", "zoo.training", "zoo.data", "zoo.registry", "zoo.model", "zoo.checkpoints")),
    ],
)
def test_parts_of_the_zoo_do_not_know_each_other(folder, forbidden):
    for path in FILES:
        if name_of(path).startswith(folder):
            wrong = [
                name
                for name in imports(path)
                if name.startswith(forbidden) and not name.startswith("zoo.objectives.contract")
            ]
            assert not wrong, f"{name_of(path)} must not import {wrong}"


def test_lightning_stays_in_training_and_the_data_module():
    users = {name_of(path) for path in FILES for name in imports(path) if name.startswith("pytorch_lightning")}
    assert not [user for user in users if not user.startswith(LIGHTNING_ALLOWED)]


@pytest.mark.parametrize("package", ONE_FILE_ONLY)
def test_optional_packages_are_imported_in_one_file(package):
    users = {name_of(path) for path in FILES for name in imports(path) if name.split(".")[0] == package}
    users -= {user for user in users if user.startswith("benchmarks/speed/")}
    assert len(users) <= 1, users


def test_no_import_cycles():
    modules = {name_of(path)[:-3].replace("/", ".").removesuffix(".__init__"): path for path in FILES}

    def targets(path: Path) -> set[str]:
        found = set()
        for node in tree_of(path).body:  # a deferred import inside a function cannot make a cycle
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        return found & set(modules)

    graph = {name: targets(path) - {name} for name, path in modules.items()}
    while leaves := [name for name, needs in graph.items() if not needs & set(graph)]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, f"import cycle among {sorted(graph)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_stay_readable(package):
    for path in files_of(package):
        if not name_of(path).startswith(TABLES_OF_FACTS):
            assert len(path.read_text().splitlines()) <= MAX_FILE_LINES, f"{name_of(path)} is too long"
        for function in functions(path):
            where = f"{name_of(path)}:{function.lineno} {function.name}"
            arguments = function.args
            names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
            is_init = function.name == "__init__"
            if is_kernel(function):  # its arguments are pointers, strides and sizes, which cannot be bundled
                names = []
            assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, where
            assert depth_of_nesting(function) <= MAX_NESTING, f"{where} is nested too deeply"
            # Constructors of networks take the architecture's named sizes, which is what create_model overrides.
            assert len([n for n in names if n not in ("self", "cls")]) <= (16 if is_init else MAX_ARGUMENTS), where
            if arguments.kwarg:
                assert function.name in {"create_model", "create_backbone", "create_tokenizer"}, (
                    f"{where} passes **kwargs through"
                )


@pytest.mark.parametrize("package", PACKAGES)
def test_smells_are_refused(package):
    for path in files_of(package):
        text = path.read_text()
        for pattern, why in [
            (r"\[:, 1:\]", "slice of a mixed token axis"),
            (r"isinstance\((self\.)?backbone\b", "a head or objective that asks which family it got"),
            (r"\b(TODO|FIXME|XXX|HACK)\b", "unfinished work"),
            (r"from __future__ import annotations", "strings instead of types defeat the run-time shape checks"),
        ]:
            assert not re.search(pattern, text), f"{name_of(path)}: {why}"


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_untrusted_is_unpickled(package):
    for path in files_of(package):
        calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
        options = {(k.arg, k.value.value) for c in calls for k in c.keywords if isinstance(k.value, ast.Constant)}
        assert not options & {("weights_only", False), ("allow_pickle", True)}, f"{name_of(path)} unpickles"
        loads = [c for c in calls if isinstance(c.func, ast.Attribute) and ast.unparse(c.func) == "torch.load"]
        blind = [call.lineno for call in loads if "weights_only" not in {k.arg for k in call.keywords}]
        assert not blind, f"{name_of(path)}: torch.load without weights_only in lines {blind}"
        found = [name for name in imports(path) if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib")]
        assert not found, f"{name_of(path)} imports {found}"


def test_every_module_with_behaviour_has_a_test_of_the_same_stem():
    missing = []
    for path in FILES:
        folder = path.relative_to(ROOT).parent
        table = name_of(path).startswith((*TABLES_OF_FACTS, "benchmarks/speed/"))
        if path.stem == "__init__" or table or not list(functions(path)):
            continue
        if not list((ROOT / "tests" / folder).glob(f"test_{path.stem}*.py")):
            missing.append(name_of(path))
    assert not missing


def test_every_package_folder_is_listed_in_pyproject():
    listed = set(re.findall(r'^    "([a-z_.]+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in FILES}
    assert folders <= listed
