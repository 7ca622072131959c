"""`--help` and `list settings`: what there is, what it means, and how to write it."""

import shlex

import pytest
import typer

from kerasrl2 import agents, zoo
from kerasrl2.cli import app
from kerasrl2.cli.examples import _EXAMPLES
from kerasrl2.cli.meanings import meanings
from kerasrl2.cli.values import settable
from tests.cli.shell import fail, said, succeed

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("command", [[], ["train"]], ids=["all", "train"])
def test_help_names_the_algorithms(command):
    output = said(*command, "--help")
    assert f"Algorithms: {', '.join(zoo.algorithms())}" in output


@pytest.mark.parametrize("command", list(_EXAMPLES))
def test_every_command_shows_examples_that_can_be_parsed(command):
    output = said(command, "--help")
    assert "Example" in output
    for line in _EXAMPLES[command]:
        assert f"kerasrl2 {line}" in output
        name, *arguments = shlex.split(line)
        assert name == command
        assert COMMANDS[command].make_context(command, arguments).params
    assert f"kerasrl2 {_EXAMPLES[command][0]}" in said("--help")


@pytest.mark.parametrize("algorithm", zoo.algorithms())
def test_every_setting_has_a_meaning(algorithm):
    agent_class = agents.algorithm(algorithm)
    explained = meanings(agent_class)
    assert {name for name in settable(agent_class) if not explained.get(name)} == set()


def test_settings_with_what_they_mean_and_the_zoos_values():
    output = succeed("list", "settings", "ppo", "CartPole-v1")
    assert "\ngamma = 0.99, CartPole-v1: 0.98\n    Float in [0, 1], disc" in output
    assert "\nvtrace = False\n    Boolean" in output
    assert output.startswith("tuned for CartPole-v1: steps = 100000\n")
    assert "Acrobot" not in output
    assert max(map(len, output.splitlines())) <= 80
    everything = succeed("list", "settings", "ppo")
    assert "\ngamma = 0.99\n" in everything
    assert "\n\nAcrobot-v1\n  steps = 300000\n" in everything


def test_settings_for_an_environment_without_any():
    line = fail("list", "settings", "ppo", "CartPole")
    assert "Did you mean 'CartPole-v1'" in line
    assert "`kerasrl2 list settings ppo` shows" in line
