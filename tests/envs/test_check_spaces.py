"""`envs.check` speaks up where a space looks wrong."""

import re

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import check
from tests.envs.test_checking import having
from tests.training.worlds import Counter

U1 = np.uint8


def pixels(most, *shape, dtype=U1):
    """A `draw` of random numbers from 0 to `most`."""
    return lambda self: (self.np_random.random(shape) * (most + 0.99)).astype(dtype)


FIXED = spaces.Box(np.float32([0.0, 2.0]), np.float32([1.0, 2.0]))


@pytest.mark.parametrize(
    ("space", "draw", "severity", "what"),
    [
        (
            spaces.Box(0, 255, (10, 10, 1), U1), pixels(1, 10, 10, 1),
            "warning", "go from 0 to 1, their space 0 to 255",
        ),
        (
            spaces.Box(0, 255, (7, 7, 3), U1), pixels(10, 7, 7, 3),
            "warning", "go from 0 to 10, their space 0 to 255",
        ),
        (
            spaces.Box(0.0, 255.0, (36, 36, 3)), pixels(0, 36, 36, 3, dtype="f4"),
            "warning", r"go from .* to 0\.\d+, their space 0 to 255",
        ),
        (
            spaces.Box(0, 10**6, (2,), int), pixels(9, 2, dtype=int),
            "warning", "their space 0 to 1e.06",
        ),
        (
            spaces.Box(-np.inf, np.inf, (9, 9, 3)), pixels(255, 9, 9, 3, dtype="f4"),
            "warning", r"pictures without bounds, with values from .* to 25\d",
        ),
        (
            spaces.Box(0, 255, (3, 12, 10), U1), pixels(255, 3, 12, 10),
            "note", "pictures of 12 x 10 with 3 channels, which come first",
        ),
        (
            FIXED, lambda self: np.float32([self.np_random.random(), 2.0]),
            "warning", "1 of 2 numbers of the `observation_space` cannot change",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_looks_wrong_is_said(space, draw, severity, what):
    found = [f for f in check(having(observation_space=space, draw=draw), steps=20)
             if not f.what.startswith("Gymnasium's checker")]  # fmt: skip
    assert [finding.severity for finding in found] == [severity]
    assert re.search(what, found[0].what), found[0].what
    assert found[0].remedy


@pytest.mark.parametrize(
    ("space", "draw"),
    [
        (spaces.Box(0, 255, (10, 10, 1), U1), pixels(255, 10, 10, 1)),
        (spaces.Box(0, 255, (10, 10, 1), U1), lambda self: np.zeros([10, 10, 1], U1)),
        (spaces.Box(0, 1, (10, 10, 1), U1), pixels(1, 10, 10, 1)),
        (spaces.Box(-np.inf, np.inf, (5, 5, 1)), pixels(1, 5, 5, 1, dtype="f4")),
        (spaces.Box(-1e6, 1e6, (2,)), pixels(1, 2, dtype="f4")),
        (spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32), pixels(9, 2, dtype="i4")),
        (spaces.Discrete(9, start=3), lambda self: 3),
    ],
    ids=str,
)
def test_what_looks_right_is_not(space, draw):
    found = check(having(observation_space=space, draw=draw), steps=20)
    assert not [f for f in found if not f.what.startswith("Gymnasium's checker")]


def test_actions_without_a_choice():
    fixed = spaces.Box(np.float32([-1.0, 2.0]), np.float32([1.0, 2.0]))
    found = check(having(action_space=fixed), steps=5)[0]
    assert found.severity == "error"
    assert found.what.startswith("1 of 2 numbers of the `action_space`")
    empty = spaces.Discrete(2)
    empty.n = 0
    found = check(having(action_space=empty), steps=5)
    assert [f.what for f in found] == ["the `action_space` has no action, n=0"]


def test_environments_in_tensorflow_are_looked_at_too():
    class Wide(Counter):
        def __init__(self):
            super().__init__(num_envs=2)
            self.observation_space = spaces.Box(0, 255, (5, 5, 1), U1)

        def observe(self, physics):
            rows = tf.shape(tf.nest.flatten(physics)[0])[0]
            cells = tf.cast(tf.range(25) % 3, tf.uint8)
            return tf.tile(tf.reshape(cells, [1, 5, 5, 1]), [rows, 1, 1, 1])

    assert any("0 to 2, their space 0 to 255" in f.what for f in check(Wide(), steps=5))
