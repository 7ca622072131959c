"""Pictures that environments in TensorFlow draw of themselves."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.envs import _drawing
from kerasrl2.envs.core import TensorFlowEnvironment

WORLDS = [id for id in envs.ids() if id != "Endless-1"]
SEED = tf.constant([0, 1])


def places(picture, color):
    """Mean row and column of the pixels of a colour."""
    rows, columns = np.nonzero((picture == color).all(axis=-1))
    return rows.mean(), columns.mean()


@pytest.mark.parametrize("id", WORLDS)
def test_every_world_draws_itself(id):
    env = envs.make(id, num_envs=1)
    assert type(env).picture is not TensorFlowEnvironment.picture
    picture = env.picture(env.initial(SEED, 1))
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    assert not any(size % 2 for size in picture.shape[:2])  # for video codecs
    assert picture.std() > 0
    np.testing.assert_array_equal(picture, env.picture(env.initial(SEED, 1)))


def test_a_pole_leans_the_way_it_falls():
    env = envs.make("CartPole-v1")
    middle = (_drawing.WIDTH - 1) / 2
    for position, angle in ((1.2, 0.0), (0.0, 0.2), (-1.2, -0.2)):
        picture = env.picture(tf.constant([[position, 0.0, angle, 0.0]]))
        joint = places(picture, _drawing.BLUE)[1] - middle
        row, pole = places(picture, _drawing.BROWN)
        assert joint == pytest.approx(position * 480 / 5.28, abs=2)
        lean = pole - middle - position * 480 / 5.28
        assert lean == pytest.approx(np.sin(angle) / 2 * 480 / 5.28, abs=2)
        assert row < 200


@pytest.mark.parametrize(
    ("id", "physics", "up", "left"),
    [
        ("Pendulum-v1", [0.0, 0.0], True, None),
        ("Pendulum-v1", [np.pi, 0.0], False, None),
        ("Pendulum-v1", [np.pi / 2, 0.0], None, True),
        ("Acrobot-v1", [0.0, 0.0, 0.0, 0.0], False, None),
        ("Acrobot-v1", [np.pi, 0.0, 0.0, 0.0], True, None),
        ("Acrobot-v1", [np.pi / 2, 0.0, 0.0, 0.0], None, False),
    ],
)
def test_rods_point_where_they_are(id, physics, up, left):
    picture = envs.make(id).picture(tf.constant([physics], tf.float32))
    row, column = places(picture, _drawing.RED)
    middle = (_drawing.HEIGHT - 1) / 2, (_drawing.WIDTH - 1) / 2
    away = row - middle[0], column - middle[1]
    expected = (up, -1.0), (left, -1.0)
    for distance, (direction, sign) in zip(away, expected, strict=True):
        if direction is None:
            assert abs(distance) < 8
        else:
            assert distance * (sign if direction else -sign) > 40


def test_a_car_is_where_it_is():
    env = envs.make("MountainCar-v0")
    columns = [
        places(env.picture(tf.constant([[x, 0.0]])), _drawing.BLUE)[1]
        for x in (-1.0, -0.5, 0.4)
    ]
    np.testing.assert_allclose(
        columns, [480 * x / 1.8 for x in (0.2, 0.7, 1.6)], atol=2
    )
    assert (env.picture(tf.constant([[0.0, 0.0]])) == _drawing.GREEN).all(-1).any()


def test_boards_show_the_last_plane_that_is_on():
    planes = np.zeros([2, 3, 9])
    planes[0, 1, 0] = planes[1, 2, 1] = planes[1, 2, 8] = 1
    cells = _drawing.board(planes)[16::32, 16::32]
    first = [90, 200, 120]
    dark = list(_drawing.BLACK)
    assert cells.tolist() == [[dark, first, dark], [dark, dark, first]]
    assert _drawing.board(planes).shape == (64, 96, 3)


def test_a_world_of_ones_own_is_told_what_to_define():
    env = envs.make("Endless-1")
    with pytest.raises(ValueError, match=r"'Endless-1', whose class Endless .* Define"):
        env.picture(env.initial(SEED, 1))
