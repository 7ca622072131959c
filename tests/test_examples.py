"""Every example runs, with a tiny budget."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.test_documentation import without_xla  # noqa: F401  (a fixture)

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings(  # Keras 3.15 with NumPy 2, when it saves
        "ignore:__array__ implementation:DeprecationWarning"
    ),
]
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
IN_XLA = {"tensorflow_environment"}  # what it is about


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path, monkeypatch, request, capsys):
    if example.stem not in IN_XLA:
        request.getfixturevalue("without_xla")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), "--steps", "2048"])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_does(example):
    text = example.read_text()
    assert text.startswith('"""')
    assert f"python examples/{example.name} [--steps N]" in text
    assert len(text.splitlines()) <= (250 if "one_file" in example.stem else 120)
