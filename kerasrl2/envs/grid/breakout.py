"""Breakout on a 10 x 10 grid."""

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
    draw,
    holds,
    stack_planes,
    stick,
)

FIRST_ROW, LAST_ROW = 1, 3  # of the bricks
BOTTOM = SIZE - 1  # the paddle's row
NO_OP, LEFT, RIGHT = range(3)


class Breakout(NamedTuple):
    """State of `GridBreakout`.

    Attributes:
        paddle: `[N]` int32, its column.
        row: `[N]` int32, the ball's.
        column: `[N]` int32, the ball's.
        down: `[N]` int32, 1 if the ball moves down, -1 if up.
        right: `[N]` int32, 1 if the ball moves right, -1 if left.
        trail: `[N, 10, 10]` bool, where the ball was a step ago.
        bricks: `[N, 10, 10]` bool.
        struck: `[N]` bool, whether the ball hit a brick in the step before.
        previous: `[N]` int32, the action executed in the step before.
    """

    paddle: Any
    row: Any
    column: Any
    down: Any
    right: Any
    trail: Any
    bricks: Any
    struck: Any
    previous: Any


class GridBreakout(TensorFlowEnvironment):
    """Bounce a ball off a paddle and break bricks.

    The rules are those of Breakout in MinAtar, Young and Tian (2019),
    https://arxiv.org/abs/1903.03176:

    - Bricks fill rows 1 to 3. The ball starts in row 3, with equal chances at the left
      edge or at the right one, and moves down and inwards. The paddle starts in
      column 4 of the bottom row.
    - In a step the paddle moves first, by one column at most, and stops at the walls.
      Then the ball moves, by one cell along a diagonal.
    - At a side wall the ball stays in its column and reverses its horizontal direction;
      it still changes its row. At the top it stays in its row and turns down.
    - A ball that enters a brick's cell breaks the brick, for a reward of 1: it reverses
      its vertical direction and stays in its row, though it changes its column. In the
      step after one in which it hit a brick it breaks none, but enters the cell.
    - A ball that would enter the bottom row bounces, staying in its row, if the paddle
      is in the column it comes from: it turns up; or else if the paddle is in the
      column it moves to: it turns up and reverses its horizontal direction. Otherwise
      the episode terminates.
    - When the ball would enter the bottom row and no brick is left, all bricks return.

    Deviations: there is a time limit; actions are MinAtar's minimal set; the action
    that may be repeated at the start of an episode is the no-op; planes are uint8.

    Observation: `[N, 10, 10, 4]` uint8, planes of the paddle, the ball, its trail
    (where it was a step ago) and the bricks. Action: `[N]`, 0 stays, 1 moves left, 2
    right.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        sticky_actions: Float in [0, 1], the probability, at each step, that the
            previous action is executed instead of the agent's.
        id: String, the name in messages and logs.

    Example:
    >>> env = GridBreakout(num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> tf.reduce_sum(tf.cast(observation, tf.int32), axis=[1, 2]).numpy().tolist()
    [[1, 1, 1, 30], [1, 1, 1, 30]]
    >>> state, time_step = env.step(state, tf.constant([1, 2]), tf.constant([0, 2]))
    >>> tf.where(time_step.observation[..., 0]).numpy().tolist()
    [[0, 9, 3], [1, 9, 5]]
    """

    def __init__(
        self,
        num_envs=1,
        max_episode_steps=5_000,
        sticky_actions=0.1,
        id="GridBreakout-v0",
    ):
        check_range("sticky_actions", sticky_actions, 0, 1)
        self.sticky_actions = sticky_actions
        super().__init__(
            id, num_envs, board_space(4), spaces.Discrete(3), max_episode_steps
        )

    def initial(self, seed, n):
        on_right = draw(seed, n) < 0
        row, column = tf.fill([n], LAST_ROW), tf.where(on_right, SIZE - 1, 0)
        return Breakout(
            paddle=tf.fill([n], 4),
            row=row,
            column=column,
            down=tf.ones([n], tf.int32),
            right=tf.where(on_right, -1, 1),
            trail=cell(row, column),
            bricks=_wall(n),
            struck=tf.zeros([n], tf.bool),
            previous=tf.fill([n], NO_OP),
        )

    def apply_chance(self, physics, action, seed):
        return physics, stick(action, physics.previous, self.sticky_actions, seed)

    def transition(self, physics, action):
        move = tf.cast(action == RIGHT, tf.int32) - tf.cast(action == LEFT, tf.int32)
        paddle = tf.clip_by_value(physics.paddle + move, 0, SIZE - 1)
        row, down = physics.row + physics.down, physics.down
        column = tf.clip_by_value(physics.column + physics.right, 0, SIZE - 1)
        at_side = column == physics.column
        right = tf.where(at_side, -physics.right, physics.right)

        at_top, at_bottom = row < 0, row == BOTTOM
        target = cell(row, column)
        hits = holds(physics.bricks & target)
        breaks = hits & ~physics.struck
        bricks = physics.bricks & ~(target & breaks[:, None, None])
        renewed = at_bottom & ~holds(bricks)
        bricks |= _wall(1) & renewed[:, None, None]

        straight = at_bottom & (physics.column == paddle)
        slanting = at_bottom & ~straight & (column == paddle)
        caught = straight | slanting
        stays = at_top | breaks | caught
        physics = Breakout(
            paddle=paddle,
            row=tf.where(stays, physics.row, row),
            column=column,
            down=tf.where(stays, -down, down),
            right=tf.where(slanting, -right, right),
            trail=cell(physics.row, physics.column),
            bricks=bricks,
            struck=hits,
            previous=action,
        )
        return physics, tf.cast(breaks, tf.float32), at_bottom & ~caught

    def observe(self, physics):
        paddle = cell(BOTTOM, physics.paddle)
        ball = cell(physics.row, physics.column)
        return stack_planes(paddle, ball, physics.trail, physics.bricks)

    def picture(self, physics):
        return board(self.observe(physics)[0])


def _wall(n):
    """All bricks, `[n, 10, 10]` bool."""
    row = tf.range(SIZE)[:, None]
    return tf.broadcast_to((row >= FIRST_ROW) & (row <= LAST_ROW), [n, SIZE, SIZE])
