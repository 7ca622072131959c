"""A continuous double auction: traders and a limit order book."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2.envs.games._book import BUY, SELL, Book, Order, cancelled, executed
from kerasrl2.envs.games.core import GameEnvironment

HOLD, MARKET_BUY, MARKET_SELL, LIMIT_BUY, LIMIT_SELL, CANCEL = range(6)
_FIRST_PRICE, _HIGHEST = 100, 10_000  # ticks
_OWN = 6  # numbers in an observation besides the book


class _State(NamedTuple):
    """`Book`, `[G, M]` int32 order of the traders, and `[G]` int32 steps so far."""

    book: Book
    turn: tf.Tensor
    steps: tf.Tensor


class ContinuousDoubleAuction(GameEnvironment):
    """`M` traders send orders to one limit order book; trades are a zero-sum game.

    In each step every trader sends one order; they arrive in a random order. A market
    order trades with the best resting orders of others, and what is left of it is
    dropped. A limit order trades with those at prices not worse than its limit, and
    what is left rests in the book, in place of the trader's order on that side, with
    the priority of its time. Best prices trade first, of equal ones the earliest, at
    the price of the order that rested.

    Cash, units and prices are integers, so that their sums over traders are kept
    exactly. The reward is the change of a trader's net asset value (NAV),
    `cash + units * mark`, in ticks: the rewards of all traders add up to 0.

    Observation: `[2 (2 depth + 1) + 6]` float32. First the units of all bids and then
    of all asks at prices from `depth` ticks below that of the last trade to `depth`
    above, divided by `max_size`. Then the trader's own: units divided by `10 max_size`;
    size of its bid and its ask divided by `max_size`; by how much their prices differ
    from the last one, divided by `depth`; and what the last price differs from the
    first, divided by 10.

    Action: `MultiDiscrete([6, max_size, levels])`: what (0 nothing, 1 market buy, 2
    market sell, 3 limit buy, 4 limit sell, 5 cancel both own orders), units - 1, and
    level `d`: a limit to buy is `last + 1 - d`, one to sell `last - 1 + d`.

    Args:
        num_games: Integer >= 1, the number of copies `G`; there are `G * M` rows.
        num_traders: Integer >= 2, `M`.
        max_episode_steps: Integer or None, the time limit.
        max_size: Integer >= 1, units of an order at most.
        levels: Integer >= 1, prices that a limit may have.
        depth: Integer >= 1, ticks of the book that are seen to each side.
        mark: `"first"`: units are worth the first price, 100 ticks, throughout, so that
            to buy below it is a profit; or `"last"`: that of the last trade, which
            traders can move to their favour.
        id: String, the name in messages and logs.

    Example:
    >>> env = ContinuousDoubleAuction(num_games=1, num_traders=2)
    >>> state, _ = env.reset(tf.constant([0, 0]))
    >>> offer = tf.constant([[4, 2, 2], [0, 0, 0]])  # sells 3 at 100 - 1 + 2
    >>> state, _ = env.step(state, offer, tf.constant([0, 1]))
    >>> take = tf.constant([[0, 0, 0], [1, 1, 0]])  # buys 2
    >>> state, time_step = env.step(state, take, tf.constant([0, 2]))
    >>> state.physics.book.cash.numpy().tolist(), time_step.reward.numpy().tolist()
    ([[202, -202]], [2.0, -2.0])
    """

    def __init__(
        self, num_games=1, num_traders=4, max_episode_steps=100, max_size=4, levels=6,
        depth=5, mark="first", id="ContinuousDoubleAuction",
    ):  # fmt: skip
        if num_traders < 2:
            raise ValueError(
                f"Expected `num_traders` of at least 2. Received: {num_traders}"
            )
        for name, value in (("max_size", max_size), ("levels", levels)):
            check_positive_integer(name, value)
        check_positive_integer("depth", depth)
        check_choice("mark", mark, ("first", "last"))
        self.max_size, self.levels, self.depth, self.mark = (
            max_size,
            levels,
            depth,
            mark,
        )
        numbers = 2 * (2 * depth + 1) + _OWN
        super().__init__(
            id, num_games, num_traders, spaces.Box(-np.inf, np.inf, [numbers]),
            spaces.MultiDiscrete([6, max_size, levels]), max_episode_steps,
        )  # fmt: skip

    def initial(self, seed, n):
        del seed
        orders, each = (
            tf.zeros([n, 2, self.num_players], tf.int32),
            tf.zeros([n, self.num_players], tf.int32),
        )
        none = tf.zeros([n], tf.int32)
        book = Book(
            price=orders, size=orders, time=orders, cash=each, inventory=each,
            last=none + _FIRST_PRICE, clock=none, traded=none,
        )  # fmt: skip
        return _State(book, each, none)

    def apply_chance(self, physics, action, seed):
        """Draws the order in which the traders' orders arrive."""
        shape = [self.num_games, self.num_players]
        draw = tf.random.stateless_uniform(shape, seed, alg="philox")
        turn = tf.argsort(draw, axis=1, stable=True)
        return physics._replace(turn=turn), action

    def transition(self, physics, action):
        before = self.net_asset_values(physics.book)
        book = physics.book._replace(traded=tf.zeros_like(physics.book.traded))
        action = tf.cast(action, tf.int32)

        def one(i, book):
            trader = physics.turn[:, i]
            what = tf.gather(action, trader, batch_dims=1)  # [G, 3]
            book = cancelled(book, trader, tf.equal(what[:, 0], CANCEL))
            return i + 1, executed(book, self._order(book, trader, what))

        _, book = tf.while_loop(
            lambda i, book: i < self.num_players, one, (0, book), parallel_iterations=1
        )
        reward = self.net_asset_values(book) - before
        after = _State(book, physics.turn, physics.steps + 1)
        never = tf.zeros([self.num_games], tf.bool)
        return after, tf.cast(reward, tf.float32), never

    def net_asset_values(self, book):
        """`[G, M]` int32, what traders have in ticks, of a `Book`."""
        mark = book.last[:, None] if self.mark == "last" else _FIRST_PRICE
        return book.cash + book.inventory * mark

    def observe(self, physics):
        book = physics.book
        offset = book.price - book.last[:, None, None]  # [G, 2, M]
        ticks = tf.range(-self.depth, self.depth + 1)
        here = tf.equal(offset[:, :, None, :], ticks[:, None])  # [G, 2, ticks, M]
        units = tf.reduce_sum(tf.where(here, book.size[:, :, None, :], 0), axis=3)
        games, most = units.shape[0], float(self.max_size)
        seen = tf.cast(tf.reshape(units, [games, 1, -1]), tf.float32) / most
        seen = tf.repeat(seen, self.num_players, axis=1)
        offset = tf.where(book.size > 0, offset, 0)
        moved = tf.repeat((book.last - _FIRST_PRICE)[:, None], self.num_players, axis=1)
        own = [
            tf.cast(book.inventory, tf.float32) / (10.0 * most),
            *(tf.cast(book.size[:, side], tf.float32) / most for side in (BUY, SELL)),
            *(tf.cast(offset[:, side], tf.float32) / self.depth for side in (0, 1)),
            tf.cast(moved, tf.float32) / 10.0,
        ]
        return tf.concat([seen, tf.stack(own, axis=2)], axis=2)

    def _order(self, book, trader, what):
        """The `Order` of an action `[G, 3]`."""
        kind, size, level = tf.unstack(what, axis=1)
        sells = tf.equal(kind, MARKET_SELL) | tf.equal(kind, LIMIT_SELL)
        limit = tf.equal(kind, LIMIT_BUY) | tf.equal(kind, LIMIT_SELL)
        market = tf.equal(kind, MARKET_BUY) | tf.equal(kind, MARKET_SELL)
        price = book.last + tf.where(sells, level - 1, 1 - level)
        price = tf.clip_by_value(price, 1, _HIGHEST)
        any_price = tf.where(sells, 0, _HIGHEST)
        return Order(
            trader=trader,
            side=tf.where(sells, SELL, BUY),
            size=tf.where(limit | market, size + 1, 0),
            price=tf.where(limit, price, any_price),
            rests=tf.cast(limit, tf.int32),
        )
