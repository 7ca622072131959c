"""Space Invaders on a 10 x 10 grid."""

from typing import Any, NamedTuple

import tensorflow as tf
from gymnasium import spaces

from kerasrl2._checks import check_range
from kerasrl2.envs._drawing import board
from kerasrl2.envs.core import TensorFlowEnvironment
from kerasrl2.envs.grid._board import (
    SIZE,
    board_space,
    cell,
    holds,
    shift,
    stack_planes,
    stick,
)

BOTTOM = SIZE - 1  # the cannon's row
COOL_DOWN = 5  # steps from one shot of the cannon to the next
SHOT_INTERVAL = 10  # steps from one shot of the aliens to the next
SLOWEST, FASTEST = 12, 6  # steps from one move of a full block to the next
NO_OP, LEFT, RIGHT, FIRE = range(4)


class SpaceInvaders(NamedTuple):
    """State of `GridSpaceInvaders`. Timers count down the steps that remain.

    Attributes:
        cannon: `[N]` int32, its column.
        aliens: `[N, 10, 10]` bool.
        right: `[N]` int32, 1 if the aliens move right, -1 if left.
        shots: `[N, 10, 10]` bool, the cannon's bullets.
        bombs: `[N, 10, 10]` bool, the aliens' bullets.
        until_ready: `[N]` int32, 0 if the cannon can fire.
        until_move: `[N]` int32, 0 if the aliens move in the coming step.
        until_bomb: `[N]` int32, 0 if an alien fires in the coming step.
        interval: `[N]` int32, the steps between two moves of a full block.
        previous: `[N]` int32, the action executed in the step before.
    """

    cannon: Any
    aliens: Any
    right: Any
    shots: Any
    bombs: Any
    until_ready: Any
    until_move: Any
    until_bomb: Any
    interval: Any
    previous: Any


class GridSpaceInvaders(TensorFlowEnvironment):
    """Shoot aliens that come down, and dodge their bullets.

    The rules are those of Space Invaders in MinAtar, Young and Tian (2019),
    https://arxiv.org/abs/1903.03176. Each wave is a block of 24 aliens in rows 0 to 3
    and columns 2 to 7. In a step, in this order:

    - The cannon, at first in column 5 of the bottom row, moves by one column (walls
      stop it), or fires if its last shot is at least 5 steps old: a bullet appears in
      its cell.
    - The cannon's bullets move up by one row, then the aliens' bullets down by one.
      Those that leave the grid disappear.
    - The aliens move, for the first time in step 13, sideways (the first wave to the
      left). If one of them is at the edge they move towards, all move down one row and
      reverse their direction instead. The next move follows after as many steps as
      there are aliens, but after 12 at most (fewer in later waves).
    - In steps 11, 21, 31, ... of the episode the lowest alien of the column nearest to
      the cannon's (the left of two) fires: a bullet appears in its cell.
    - An alien in a cell with a bullet of the cannon's disappears together with it, for
      a reward of 1. A bullet and an alien that swap cells in one step do not collide.
    - After the last alien the next wave appears at once. It inherits direction and
      timers; each wave's longest interval between moves is one step shorter, down to 6.

    The episode terminates when an alien or one of their bullets is in the cannon's
    cell, or when aliens that stand in the bottom row are to move down.

    Deviations: there is a time limit; actions are MinAtar's minimal set; the action
    that may be repeated at the start of an episode is the no-op; planes are uint8; the
    last observation of a terminated episode, which no value depends on, may differ.

    Observation: `[N, 10, 10, 6]` uint8, planes of the cannon, the aliens, the aliens if
    they move left, the aliens if they move right, the cannon's bullets and the aliens'.
    Action: `[N]`, 0 stays, 1 moves left, 2 moves right, 3 fires.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        sticky_actions: Float in [0, 1], the probability, at each step, that the
            previous action is executed instead of the agent's. Nothing else is random.
        id: String, the name in messages and logs.

    Example:
    >>> env = GridSpaceInvaders(num_envs=1)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> tf.reduce_sum(tf.cast(observation, tf.int32), axis=[0, 1, 2]).numpy().tolist()
    [1, 24, 24, 0, 0, 0]
    >>> for _ in range(3):  # fires in the first of them only
    ...     state, time_step = env.step(state, tf.constant([3]), tf.constant([0, 2]))
    >>> tf.where(time_step.observation[0, ..., 4]).numpy().tolist()
    [[6, 5]]
    """

    def __init__(
        self,
        num_envs=1,
        max_episode_steps=5_000,
        sticky_actions=0.1,
        id="GridSpaceInvaders-v0",
    ):
        check_range("sticky_actions", sticky_actions, 0, 1)
        self.sticky_actions = sticky_actions
        super().__init__(
            id, num_envs, board_space(6), spaces.Discrete(4), max_episode_steps
        )

    def initial(self, seed, n):
        number = lambda value: tf.fill([n], value)  # noqa: E731
        empty = tf.zeros([n, SIZE, SIZE], tf.bool)
        return SpaceInvaders(
            cannon=number(5),
            aliens=_block(n),
            right=number(-1),
            shots=empty,
            bombs=empty,
            until_ready=number(0),
            until_move=number(SLOWEST),
            until_bomb=number(SHOT_INTERVAL),
            interval=number(SLOWEST),
            previous=number(NO_OP),
        )

    def apply_chance(self, physics, action, seed):
        return physics, stick(action, physics.previous, self.sticky_actions, seed)

    def transition(self, physics, action):
        move = tf.cast(action == RIGHT, tf.int32) - tf.cast(action == LEFT, tf.int32)
        cannon = tf.clip_by_value(physics.cannon + move, 0, SIZE - 1)
        here = cell(BOTTOM, cannon)
        fires = (action == FIRE) & (physics.until_ready == 0)
        until_ready = tf.where(fires, COOL_DOWN, physics.until_ready)
        shots = shift(physics.shots | here & fires[:, None, None], down=-1)
        bombs = shift(physics.bombs, down=1)
        hit = holds((bombs | physics.aliens) & here)

        moves = physics.until_move == 0
        aliens, right, landed = _march(physics.aliens, physics.right, moves)
        count = tf.math.count_nonzero(physics.aliens, [1, 2], dtype=tf.int32)
        pause = tf.minimum(count, physics.interval)
        hit |= landed | holds(aliens & here)

        drops = physics.until_bomb == 0
        bombs |= _nearest(aliens, cannon) & drops[:, None, None]
        killed = aliens & shots
        reward = tf.math.count_nonzero(killed, [1, 2], dtype=tf.int32)
        aliens, shots = aliens & ~killed, shots & ~killed
        cleared = ~holds(aliens)
        faster = tf.maximum(physics.interval - 1, FASTEST)
        physics = SpaceInvaders(
            cannon=cannon,
            aliens=aliens | _block(1) & cleared[:, None, None],
            right=right,
            shots=shots,
            bombs=bombs,
            until_ready=tf.maximum(until_ready - 1, 0),
            until_move=tf.where(moves, pause, physics.until_move) - 1,
            until_bomb=tf.where(drops, SHOT_INTERVAL, physics.until_bomb) - 1,
            interval=tf.where(cleared, faster, physics.interval),
            previous=action,
        )
        return physics, tf.cast(reward, tf.float32), hit

    def observe(self, physics):
        to_right = (physics.right > 0)[:, None, None]
        return stack_planes(
            cell(BOTTOM, physics.cannon),
            physics.aliens,
            physics.aliens & ~to_right,
            physics.aliens & to_right,
            physics.shots,
            physics.bombs,
        )

    def picture(self, physics):
        return board(self.observe(physics)[0])


def _march(aliens, right, moves):
    """Moves the aliens in the copies where `moves` is True.

    Returns:
        `(aliens, right, landed)`, the last `[N]` bool: they were to leave the grid.
    """
    edge = tf.where(right[:, None] > 0, aliens[:, :, SIZE - 1], aliens[:, :, 0])
    turns = moves & holds(edge)
    to_right, down = (x[:, None, None] for x in (right > 0, turns))
    aside = tf.where(to_right, shift(aliens, right=1), shift(aliens, right=-1))
    moved = tf.where(down, shift(aliens, down=1), aside)
    landed = turns & holds(aliens[:, BOTTOM])
    return (
        tf.where(moves[:, None, None], moved, aliens),
        tf.where(turns, -right, right),
        landed,
    )


def _nearest(aliens, cannon):
    """The lowest alien of the column nearest to `cannon`, as a board."""
    index = tf.range(SIZE)
    away = index - cannon[:, None]  # [N, 10]
    rank = 2 * tf.abs(away) + tf.cast(away > 0, tf.int32)  # left of two comes first
    rank = tf.where(tf.reduce_any(aliens, axis=1), rank, 2 * SIZE)
    nearest = rank == tf.reduce_min(rank, axis=1, keepdims=True)  # [N, 10]
    row = tf.where(aliens, index[:, None], -1)  # [N, 10, 10]
    lowest = row == tf.reduce_max(row, axis=1, keepdims=True)
    return aliens & lowest & nearest[:, None, :]


def _block(n):
    """A full block of aliens, `[n, 10, 10]` bool."""
    row, column = tf.range(SIZE)[:, None], tf.range(SIZE)
    return tf.broadcast_to((row < 4) & (column >= 2) & (column < 8), [n, SIZE, SIZE])
