"""Commands that need what is not installed: one line, and nothing is left behind."""

import sys

import gymnasium

from tests.cli.shell import SMALL, fail


def undrawn(**keywords):
    raise gymnasium.error.DependencyNotInstalled('Run `pip install "a-world"`')


def test_ray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    more = "--workers", 2, "--run-dir", tmp_path / "run", *SMALL
    line = fail("train", "a2c", "CartPole-v1", "--steps", 100, *more)
    assert line == (
        'Error: Workers in other processes need Ray: pip install "kerasrl2[ray]"'
    )
    assert list(tmp_path.iterdir()) == []


def test_what_an_environment_of_ones_own_needs(tmp_path):
    env = "tests.cli.test_missing_packages:undrawn"
    more = "--steps", 100, "--run-dir", tmp_path / "run", *SMALL
    line = fail("train", "a2c", env, *more)
    assert 'Run `pip install "a-world"`' in line
    assert list(tmp_path.iterdir()) == []
