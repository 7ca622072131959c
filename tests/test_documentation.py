"""README and docs: their code runs, their commands exist, nothing public is missing."""

import functools
import importlib
import inspect
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
import typer.main

import kerasrl2 as krl
from kerasrl2 import _algorithms
from kerasrl2._algorithms import built_in
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
BLOCK = re.compile(
    r"^(<!-- not executed: [^\n]+ -->\n)?```(\w+)\n(.*?)^```", re.M | re.S
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ROOMS = sorted(
    {"plotting"} | {n for n in dir(krl) if inspect.ismodule(getattr(krl, n))}
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings(  # Keras 3.15 with NumPy 2, when it saves
        "ignore:__array__ implementation:DeprecationWarning"
    ),
]


def blocks(page, language):
    """`(number of lines before it, code)` of each executable block of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: match.start(3)].count("\n"), match[3])
        for match in BLOCK.finditer(text)
        if match[2] == language and not match[1]
    ]


def test_a_comment_leaves_out_one_block(tmp_path):
    page = tmp_path / "page.md"
    left_out = "<!-- not executed: slow -->\n```python\n{}\n```\n"
    page.write_text(f"{left_out.format(1)}\n```python\n2\n```\n\n{left_out.format(3)}")
    assert blocks(page, "python") == [(6, "2\n")]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def setup_commands():
    """The README's lines that set everything up, `[train, test]`."""
    lines = [line for _, block in blocks(README, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python3 -m venv")]


@pytest.fixture
def without_xla(monkeypatch):
    """Compiling takes longer than the small budgets of the pages."""
    original = tf.function

    @functools.wraps(original)
    def function(*arguments, jit_compile=None, **keywords):
        return original(*arguments, **keywords)

    monkeypatch.setattr(tf, "function", function)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=name_of
)
def test_code_of_a_page_runs(page, tmp_path, monkeypatch, without_xla):
    monkeypatch.chdir(tmp_path)
    known = dict(_algorithms.REGISTERED)  # what the page registers is forgotten
    monkeypatch.setattr(_algorithms, "REGISTERED", known)
    namespace = {"__name__": "__main__"}
    for lines_before, code in blocks(page, "python"):
        padded = "\n" * lines_before + code  # tracebacks name the page's own line
        exec(compile(padded, page, "exec"), namespace)
    assert "krl" in namespace


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_a_page_exist(page):
    command = typer.main.get_command(app)
    for _, block in blocks(page, "sh"):
        for line in block.splitlines():
            words = shlex.split(line.rpartition("&&")[2], comments=True)
            if words and Path(words[0]).name == "kerasrl2" and words[1] != "--version":
                subcommand = command.commands[words[1]]
                assert subcommand.make_context(words[1], words[2:]), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_readme_shows_two_lines_that_set_everything_up():
    train, test = setup_commands()
    assert train.endswith(
        "pip install -q . && .venv/bin/kerasrl2 train ppo CartPole-v1"
    )
    assert '".[test]"' in test
    assert "pytest" in test


def test_ci_runs_the_lines_of_the_readme():
    listed = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.splitlines()[:2] == setup_commands()


def test_readme_example_is_short():
    first = blocks(README, "python")[0][1]
    assert len([line for line in first.splitlines() if line.strip()]) <= 10


def test_readme_and_index_say_the_same():
    paragraph = README.read_text().split("\n\n")[1].split("so that")[0]
    assert " ".join(paragraph.split())[:200] in " ".join(
        (DOCS / "index.md").read_text().split()
    )


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_a_page_in_the_reference(room):
    page = (DOCS / "api" / f"{room}.md").read_text()
    assert f".. automodule:: kerasrl2.{room}" in page
    assert f"\n{room}\n" in (DOCS / "api" / "index.md").read_text()
    if ":members:\n" not in page.partition("automodule")[2].partition("\n")[2][:20]:
        for name in public_names(room):  # listed one by one
            assert re.search(rf":: {name}\n", page), name


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_have_docstrings(room):
    module = importlib.import_module(f"kerasrl2.{room}")
    assert module.__doc__
    for name in public_names(room):
        assert (getattr(module, name).__doc__ or "").strip(), f"{room}.{name}"


def public_names(room):
    """`__all__`, or what the module defines without an underscore."""
    module = importlib.import_module(f"kerasrl2.{room}")
    defined = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
    ]
    return getattr(module, "__all__", defined)


@pytest.mark.parametrize("algorithm", built_in())
def test_algorithm_has_a_page_with_hyperparameters_and_metrics(algorithm):
    page = (DOCS / "algorithms" / f"{algorithm}.md").read_text()
    agent_class = krl.agents.algorithm(algorithm)
    through = {  # set through these keywords of `for_env`
        "observation_normalizer": "normalize_observations",
        "reward_scaling": "normalize_rewards",
    }
    own = [through.get(name, name) for name in own_keywords(agent_class)]
    for name in [*own, *agent_class.metric_names]:
        assert f"`{name}`" in page, name
    assert "Deviations from the paper" in page
    assert f"\nalgorithms/{algorithm}\n" in (DOCS / "index.md").read_text()


def own_keywords(agent_class):
    """The constructor's; of a subclass of an algorithm what its `for_env` names."""
    built = {"self", "args", "kwargs", "env", "hyperparameters", "network", "q_network"}
    built |= {"head", "observation_spec", "critic"}
    builds = "for_env" in vars(agent_class) and "__init__" not in vars(agent_class)
    function = agent_class.for_env if builds else agent_class.__init__
    return [
        name for name in inspect.signature(function).parameters if name not in built
    ]


@pytest.mark.parametrize("algorithm", built_in())
def test_algorithm_is_in_the_table_of_the_readme(algorithm):
    """Title, class, actions and tuned environments are those of the registry."""
    found = krl.agents.registration(algorithm)
    link = f"[{found.title}](docs/algorithms/{algorithm}.md)"
    (row,) = [r for r in README.read_text().splitlines() if r.startswith(f"| {link}")]
    _, _, name, actions, tuned, _ = map(str.strip, row.split("|"))
    assert name == f"`agents.{found.agent_class.__name__}`"
    assert actions == ", ".join(found.actions)
    ids = krl.zoo.environments(algorithm)
    short = dict.fromkeys(re.sub(r"-v\d+$", "", env_id) for env_id in ids)
    assert tuned == ", ".join(short)


@pytest.mark.parametrize("algorithm", built_in())
def test_hyperparameters_are_documented_with_their_defaults(algorithm):
    page = (DOCS / "algorithms" / f"{algorithm}.md").read_text()
    page = page.partition("## Metrics")[0]  # some have the names of hyper-parameters
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|", page, re.M))
    for name, keyword in keywords_of(krl.agents.algorithm(algorithm)).items():
        row = rows.get(f"`{name}`")
        if row and isinstance(keyword.default, bool | float | int):
            assert row.split(",")[0] in _spellings(keyword.default), name


def _spellings(value):
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return {str(value), f"{mantissa}e{int(exponent)}"}


def test_pages_name_no_machine_and_no_package_index():
    forbidden = re.compile(r"/(work|home|root)/|index.url|pypi\.org")
    for page in [*PAGES, *(ROOT / "examples").glob("*.py"), ROOT / ".ci" / "run"]:
        assert not forbidden.search(page.read_text()), page
