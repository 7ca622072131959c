"""The package's floors: a module imports only from floors below its own."""

import ast
import functools
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "kerasrl2"
FLOORS = [
    ["types", "_checks", "_control", "errors", "_startup", "_version"],
    ["returns", "statistics", "permutations", "distributions", "schedules"],
    ["losses", "layers", "exploration"],
    ["envs", "buffers", "action_values"],
    ["training"],
    ["agents"],
    ["callbacks", "plotting", "zoo"],
    ["cli"],  # design.md: floor 6 like those it puts together
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))
MAY_IMPORT = {  # rooms that may import a package, of those the rule is about
    "gymnasium": {"envs"},
    "matplotlib": {"plotting"},
    "typer": {"cli"},
    "yaml": {"cli", "zoo"},
    "rich": {"training"},
}
FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "tf_keras"}
MAY_PRINT = {"training/progress.py", "buffers/_layout.py"}
LINES = 400


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def offences(check):
    """What `check(path)` yields for each file of the package, the file's name first."""
    return [
        f"{path.relative_to(ROOT)} {what}" for path in FILES for what in check(path)
    ]


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def imported(path):
    """Full names of what a file imports, `package.module.name`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path):
    """Dotted names of what a file calls, with the line."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} <= {*FLOOR, "__init__"}


def test_imports_point_downwards():
    assert offences(imports_that_point_upwards) == []


def imports_that_point_upwards(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        package, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package != "kerasrl2" or other in (room, "__version__", "krl"):
            continue
        if not rest:  # `import kerasrl2`: all rooms, through its lazy attributes
            if room != "cli":
                yield "imports the whole package"
        elif FLOOR[other] >= FLOOR[room]:
            yield f"imports {name}"


def test_packages_stay_in_their_rooms():
    assert offences(packages_of_other_rooms) == []


def packages_of_other_rooms(path):
    for name in imported(path):
        package = name.split(".")[0]
        rooms = MAY_IMPORT.get(package)
        if package in FORBIDDEN or (rooms and room_of(path) not in rooms):
            yield f"imports {name}"


def test_no_stored_code_and_no_predict():
    """Lambda layers are stored code; `predict` of a Keras model costs 50 ms a call."""
    assert offences(forbidden_calls) == []


def forbidden_calls(path):
    for name, line in calls(path):
        method = name.rpartition(".")[2]
        if (
            method in ("Lambda", "eval", "exec", "predict")
            or name.startswith("keras.config.enable_unsafe")
            or name == "yaml.load"
        ):
            yield f"line {line} calls {name}"


def test_no_safe_mode_switched_off():
    assert [path for path in FILES if "safe_mode=False" in path.read_text()] == []


def test_files_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > LINES} == {}


def test_no_assert_and_no_print_elsewhere():
    """`print` is for progress, and for the size of a large buffer."""
    assert offences(asserts_and_prints) == []


def asserts_and_prints(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno} asserts"
    if str(path.relative_to(ROOT)) not in MAY_PRINT:
        yield from (
            f"line {line} prints" for name, line in calls(path) if name == "print"
        )


def test_the_checks_above_see_offenders(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "losses.py"
    path.write_text(
        "import pickle, typer, kerasrl2\nfrom kerasrl2.agents import PPO\n"
        "assert PPO\nprint(1)\nmodel.predict(1)\nyaml.load(2)\n"
    )
    assert list(imports_that_point_upwards(path)) == [
        "imports the whole package", "imports kerasrl2.agents.PPO",
    ]  # fmt: skip
    assert list(packages_of_other_rooms(path)) == ["imports pickle", "imports typer"]
    assert list(forbidden_calls(path)) == [
        "line 5 calls model.predict", "line 6 calls yaml.load",
    ]  # fmt: skip
    assert list(asserts_and_prints(path)) == ["line 3 asserts", "line 4 prints"]


ROOMS = sorted(
    {room_of(path) for path in FILES} - {"__init__", "_startup", "_version", "cli"}
)


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_exist_and_are_documented(room):
    module = importlib.import_module(f"kerasrl2.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert getattr(module, name).__doc__, f"{room}.{name}"
