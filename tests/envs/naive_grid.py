"""The two grid games, one copy each, in plain Python: written from the rules.

Cells are pairs (row, column) in sets. `of(physics, i)` reads copy `i` of the state of
the TensorFlow version, so that two states can be compared with `==`.
"""

import dataclasses

import numpy as np

GRID = {(row, column) for row in range(10) for column in range(10)}
WALL = frozenset((row, column) for row in (1, 2, 3) for column in range(10))
WAVE = frozenset((row, column) for row in range(4) for column in range(2, 8))


def cells_of(board):
    return {(int(row), int(column)) for row, column in np.argwhere(board)}


def planes_of(*sets):
    planes = np.zeros([10, 10, len(sets)], np.uint8)
    for channel, cells in enumerate(sets):
        for row, column in cells & GRID:
            planes[row, column, channel] = 1
    return planes


def steer(column, action):
    if action == 1:
        return max(column - 1, 0)
    if action == 2:
        return min(column + 1, 9)
    return column


@dataclasses.dataclass
class Breakout:
    paddle: int
    ball: tuple
    direction: list  # rows and columns per step
    trail: tuple
    bricks: set
    struck: bool
    previous: int

    @classmethod
    def start(cls, ball_column):
        ball, right = (3, ball_column), 1 if ball_column == 0 else -1
        return cls(4, ball, [1, right], ball, set(WALL), False, 0)

    @classmethod
    def of(cls, physics, i):
        p = type(physics)(*(np.asarray(x)[i] for x in physics))
        (trail,) = cells_of(p.trail)
        return cls(
            int(p.paddle), (int(p.row), int(p.column)), [int(p.down), int(p.right)],
            trail, cells_of(p.bricks), bool(p.struck), int(p.previous),
        )  # fmt: skip

    def step(self, action, stuck=False):
        """`(reward, terminated)`."""
        action = self.previous if stuck else action
        self.previous = action
        self.paddle = steer(self.paddle, action)
        reward, terminated, met = 0, False, False
        row, column = self.ball
        self.trail = self.ball
        new_row, new_column = row + self.direction[0], column + self.direction[1]
        if not 0 <= new_column <= 9:
            new_column = column
            self.direction[1] *= -1
        if new_row < 0:
            new_row = row
            self.direction[0] *= -1
        elif (new_row, new_column) in self.bricks:
            met = True
            if not self.struck:
                reward = 1
                self.bricks.remove((new_row, new_column))
                new_row = row
                self.direction[0] *= -1
        elif new_row == 9:
            if not self.bricks:
                self.bricks = set(WALL)
            if self.paddle == column:
                new_row = row
                self.direction[0] *= -1
            elif self.paddle == new_column:
                new_row = row
                self.direction = [-self.direction[0], -self.direction[1]]
            else:
                terminated = True
        self.struck = met
        self.ball = new_row, new_column
        return reward, terminated

    def planes(self):
        return planes_of({(9, self.paddle)}, {self.ball}, {self.trail}, self.bricks)

    def good_action(self, rng):
        """Goes below the ball, or for the column it moves to; loses no ball."""
        column = self.ball[1]
        if self.ball[0] == 8 and self.direction[0] > 0 and rng.random() < 0.5:
            column += self.direction[1]
            if abs(column - self.paddle) > 1 or not 0 <= column <= 9:
                column = self.ball[1]
        return 0 if column == self.paddle else 1 if column < self.paddle else 2


@dataclasses.dataclass
class SpaceInvaders:
    cannon: int
    aliens: set
    right: int
    shots: set
    bombs: set
    until_ready: int
    until_move: int
    until_bomb: int
    interval: int
    previous: int

    @classmethod
    def start(cls):
        return cls(5, set(WAVE), -1, set(), set(), 0, 12, 10, 12, 0)

    @classmethod
    def of(cls, physics, i):
        row = [np.asarray(x)[i] for x in physics]
        return cls(*(cells_of(x) if x.ndim else int(x) for x in row))

    def step(self, action, stuck=False):
        """`(reward, terminated)`."""
        action = self.previous if stuck else action
        self.previous = action
        if action == 3 and self.until_ready == 0:
            self.shots.add((9, self.cannon))
            self.until_ready = 5
        self.cannon = steer(self.cannon, action)
        here = 9, self.cannon
        self.shots = {(row - 1, column) for row, column in self.shots} & GRID
        self.bombs = {(row + 1, column) for row, column in self.bombs} & GRID
        terminated = here in self.bombs or here in self.aliens
        if self.until_move == 0:
            self.until_move = min(len(self.aliens), self.interval)
            terminated |= self._march() or here in self.aliens
        if self.until_bomb == 0:
            self.until_bomb = 10
            if self.aliens:
                self.bombs.add(self._gunner())
        killed = self.aliens & self.shots
        self.aliens -= killed
        self.shots -= killed
        self.until_ready = max(self.until_ready - 1, 0)
        self.until_move -= 1
        self.until_bomb -= 1
        if not self.aliens:
            self.aliens = set(WAVE)
            self.interval = max(self.interval - 1, 6)
        return len(killed), terminated

    def _march(self):
        """Moves the aliens; returns whether they were to leave the grid."""
        edge = 9 if self.right > 0 else 0
        if not any(column == edge for _, column in self.aliens):
            self.aliens = {(row, column + self.right) for row, column in self.aliens}
            return False
        self.right *= -1
        landed = any(row == 9 for row, _ in self.aliens)
        self.aliens = {(row + 1, column) for row, column in self.aliens} & GRID
        return landed

    def _gunner(self):
        columns = {column for _, column in self.aliens}
        nearest = min(columns, key=lambda column: (abs(column - self.cannon), column))
        return max(row for row, column in self.aliens if column == nearest), nearest

    def planes(self):
        left, right = (self.aliens if self.right == way else set() for way in (-1, 1))
        cannon = {(9, self.cannon)}
        return planes_of(cannon, self.aliens, left, right, self.shots, self.bombs)

    def good_action(self, rng):
        """Leaves the columns of low bombs, else mostly fires."""
        danger = {column for row, column in self.bombs if row >= 6}
        if self.cannon in danger:
            free = [c for c in (self.cannon - 1, self.cannon + 1) if 0 <= c <= 9]
            return 1 if min(free, key=lambda c: c in danger) < self.cannon else 2
        return int(rng.choice([3, 3, 0, 1, 2]))
