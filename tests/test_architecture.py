"""The package's floors: a module imports only from floors below its own."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "kerasrl2"
FLOORS = [
    ["types", "_checks", "_control", "errors", "_startup", "_version"],
    [
        "returns",
        "statistics",
        "permutations",
        "distributions",
        "schedules",
        "_algorithms",
    ],
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


def imported(path):
    """Full names of what a file imports, `package.module.name`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path):
    """Dotted names of what a file calls, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def path(request):
    return request.param


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} <= {*FLOOR, "__init__"}


def test_imports_point_downwards(path):
    room = room_of(path)
    for name in imported(path):
        package, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package != "kerasrl2" or other in (room, "__version__", "krl"):
            continue
        if not rest:  # `import kerasrl2`: all rooms, through its lazy attributes
            assert room == "cli", f"{path} imports the whole package"
            continue
        where = f"{path.relative_to(ROOT)} imports {name}"
        if room != "__init__":
            assert FLOOR[other] < FLOOR[room], where


def test_packages_stay_in_their_rooms(path):
    for name in imported(path):
        package = name.split(".")[0]
        assert package not in FORBIDDEN, f"{path} imports {name}"
        if package in MAY_IMPORT:
            assert room_of(path) in MAY_IMPORT[package], f"{path} imports {name}"


def test_no_stored_code_and_no_predict(path):
    """Lambda layers are stored code; `predict` of a Keras model costs 50 ms a call."""
    for name, line in calls(path):
        where = f"{path}:{line} calls {name}"
        method = name.rpartition(".")[2]
        assert method not in ("Lambda", "eval", "exec", "predict"), where
        assert not name.startswith("keras.config.enable_unsafe"), where
        assert name != "yaml.load", where


def test_no_safe_mode_switched_off(path):
    assert "safe_mode=False" not in path.read_text()


def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= LINES


def test_no_assert_and_no_print_elsewhere(path):
    """`print` is for progress, and for the size of a large buffer."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno} asserts"
    for name, line in calls(path):
        if name == "print":
            known = str(path.relative_to(ROOT)) in MAY_PRINT
            assert known, f"{path}:{line} prints"


ROOMS = sorted(
    {room_of(path) for path in FILES} - {"__init__", "_startup", "_version", "cli"}
)


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_exist_and_are_documented(room):
    module = importlib.import_module(f"kerasrl2.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert getattr(module, name).__doc__, f"{room}.{name}"
