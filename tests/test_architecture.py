"""The package's floors: a module imports only from floors below its own."""

import ast
import functools
import importlib
from pathlib import Path

import keras
import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[1] / "kerasrl2"
FLOORS = [
    ["_private", "_words"],  # below the ground floor, of what the package defines
    [
        "types",
        "_checks",
        "_control",
        "_lines",
        "_memory",
        "errors",
        "_seeds",
        "_startup",
        "_version",
    ],
    [
        "natural_gradient",
        "ratings",
        "returns",
        "statistics",
        "permutations",
        "distributions",
        "schedules",
        "_algorithms",
    ],
    ["_numbers", "_state"],
    ["losses", "layers", "exploration", "action_noise"],
    ["envs", "buffers", "action_values"],
    ["training"],
    ["distributed"],
    ["agents"],
    ["callbacks", "multi_agent", "plotting", "populations", "zoo"],
    ["tuning"],
    ["cli"],  # design.md: floor 6 like those it puts together
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS, -1) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))
MAY_IMPORT = {  # rooms that may import a package, of those the rule is about
    "gymnasium": {"envs"},
    "matplotlib": {"plotting"},
    "optuna": {"callbacks", "tuning"},
    "rliable": {"plotting"},
    "typer": {"cli"},
    "yaml": {"cli", "zoo"},
    "rich": {"training"},
}
FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "tf_keras"}
MAY_PRINT = {"training/progress.py", "buffers/_layout.py"}
LINES = 400
PRIVATE_PACKAGES = (
    "tensorflow.python",
    "tensorflow.compiler",
    "keras.src",
    "tf.python",
)
NOT_PRIVATE = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # of tuples, `os`


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


def floors_table():
    """The floors as a Markdown table, without rooms that are nobody's to import."""
    rows = ["| floor | rooms |", "|---|---|"]
    for floor, rooms in enumerate(FLOORS, -1):
        names = ", ".join(f"`{room}`" for room in sorted(rooms))
        rows.append(f"| {floor} | {names} |")
    return "\n".join(rows)


def test_the_contributing_guide_shows_these_floors():
    guide = (ROOT.parent / "docs" / "contributing.md").read_text()
    assert floors_table() in guide, f"put this table there:\n\n{floors_table()}"


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


def private_uses(text):
    """What a file uses of TensorFlow and Keras beyond their public interfaces."""
    inherited = private_names_of_keras()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [node.module, *(f"{node.module}.{x}" for x in modules)]
            found = [name for name in modules if name.startswith(PRIVATE_PACKAGES)]
        elif isinstance(node, ast.Attribute):
            own = ast.unparse(node.value) in ("self", "cls", "super()")
            private = node.attr in inherited if own else is_private(node.attr)
            whole = ast.unparse(node)
            found = [whole] if private or whole.startswith(PRIVATE_PACKAGES) else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [name for name in PRIVATE_PACKAGES if name in node.value]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            given = [x.value for x in node.args if isinstance(x, ast.Constant)]
            found = [x for x in given if x in inherited]
        else:
            continue
        yield from (f"{name}, line {node.lineno}" for name in found)


def is_private(name):
    return (
        name.startswith("_") and not name.startswith("__") and name not in NOT_PRIVATE
    )


@functools.cache
def private_names_of_keras():
    """Of what agents and layers derive from."""
    bare = keras.Model(name="bare"), keras.layers.Layer(name="bare"), tf.Module("bare")
    return {name for base in bare for name in dir(base) if is_private(name)}


def test_private_interfaces_are_used_in_one_file():
    others = [path for path in FILES if path.name != "_private.py"]
    found = {path: list(private_uses(path.read_text())) for path in others}
    assert {path: uses for path, uses in found.items() if uses} == {}
    assert list(private_uses((ROOT / "_private.py").read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "from tensorflow.python.ops import while_v2",
        "from tensorflow import compiler",
        "def f():\n    import keras.src.layers as layers",
        "keras.src.ops.numpy",
        "tf.python.eager",
        "network._flatten_layers()",
        "self._flatten_layers()",
        "self.compiled._call_flat([], [])",
        "self.optimizer._learning_rate",
        "getattr(network, '_layers')",
        "sys.modules['keras.src.layers']",
        "self._losses.append(loss)",
    ],
)
def test_private_uses_are_found(line):
    assert list(private_uses(line))


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
