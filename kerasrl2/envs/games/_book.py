"""A batch of limit order books with one resting order per trader and side."""

from typing import Any, NamedTuple

import tensorflow as tf

BUY, SELL = 0, 1


class Book(NamedTuple):
    """`G` books of `M` traders, and what the traders own. All tensors are int32.

    Attributes:
        price: `[G, 2, M]`, limit prices in ticks of the bids and the asks.
        size: `[G, 2, M]`, units left; 0: no order.
        time: `[G, 2, M]`, the order's number: of equal prices the smaller comes first.
        cash: `[G, M]`, in ticks.
        inventory: `[G, M]`, units; negative if sold short.
        last: `[G]`, price of the last trade.
        clock: `[G]`, number of orders so far.
        traded: `[G]`, units traded since the step began.
    """

    price: Any
    size: Any
    time: Any
    cash: Any
    inventory: Any
    last: Any
    clock: Any
    traded: Any


class Order(NamedTuple):
    """One order in each of `G` games. All tensors are `[G]` int32.

    Attributes:
        trader: From 0.
        side: `BUY` or `SELL`.
        size: Units; 0: nothing is done.
        price: Limit in ticks.
        rests: 1 if what is not filled rests in the book, in place of the trader's order
            on that side; 0 if it is dropped (a market order).
    """

    trader: Any
    side: Any
    size: Any
    price: Any
    rests: Any


def fills_of(book, order):
    """`[G, M]` int32, the units of each trader's resting order that an order takes.

    Best prices first, of equal prices the earliest; at prices not worse than the limit;
    nothing from oneself.
    """
    traders = book.cash.shape[1]
    selling = tf.equal(order.side, SELL)[:, None]
    price, size, time = (
        tf.where(selling, x[:, BUY], x[:, SELL])
        for x in (book.price, book.size, book.time)
    )
    # From the taker's side, smaller is better: asks as they are, bids negated.
    cost = tf.where(selling, -price, price)
    limit = tf.where(selling[:, 0], -order.price, order.price)[:, None]
    own = tf.one_hot(order.trader, traders, True, False)
    size = tf.where((cost <= limit) & ~own, size, 0)
    better = cost[:, None, :] < cost[:, :, None]  # [G, i, j]: j before i
    same = tf.equal(cost[:, None, :], cost[:, :, None])
    before = better | (same & (time[:, None, :] < time[:, :, None]))
    ahead = tf.reduce_sum(tf.where(before, size[:, None, :], 0), axis=2)
    return tf.clip_by_value(order.size[:, None] - ahead, 0, size)


def executed(book, order):
    """The `Book` after one order in each game.

    A trade is at the price of the resting order. Cash and units change hands: their
    sums over traders stay the same.
    """
    traders = book.cash.shape[1]
    fills = fills_of(book, order)
    selling = tf.equal(order.side, SELL)[:, None]
    maker_price = tf.where(selling, book.price[:, BUY], book.price[:, SELL])
    units = tf.reduce_sum(fills, axis=1)
    worth = tf.reduce_sum(fills * maker_price, axis=1)
    taker = tf.one_hot(order.trader, traders, dtype=tf.int32)
    sign = tf.where(selling, -1, 1)  # of the taker's units
    own_cash = taker * worth[:, None]
    cash = book.cash + sign * (fills * maker_price - own_cash)
    inventory = book.inventory + sign * (taker * units[:, None] - fills)
    # The worst price paid is that of the last trade.
    paid = tf.where(fills > 0, tf.where(selling, -maker_price, maker_price), -(10**9))
    worst = tf.abs(tf.reduce_max(paid, axis=1))
    last = tf.where(units > 0, worst, book.last)

    other = tf.one_hot(1 - order.side, 2, dtype=tf.int32)[:, :, None]
    size = book.size - other * fills[:, None, :]
    rest = tf.where(order.rests > 0, order.size - units, 0)
    places = (order.size > 0) & (order.rests > 0)  # replaces the order before
    slot = tf.one_hot(order.side, 2, True, False)[:, :, None]
    slot = slot & tf.cast(taker, tf.bool)[:, None, :] & places[:, None, None]
    return Book(
        price=tf.where(slot, order.price[:, None, None], book.price),
        size=tf.where(slot, rest[:, None, None], size),
        time=tf.where(slot, book.clock[:, None, None], book.time),
        cash=cash,
        inventory=inventory,
        last=last,
        clock=book.clock + 1,
        traded=book.traded + units,
    )


def cancelled(book, trader, cancels):
    """The `Book` without the orders of `trader` where `cancels`; both are `[G]`."""
    own = tf.one_hot(trader, book.cash.shape[1], True, False) & cancels[:, None]
    return book._replace(size=tf.where(own[:, None, :], 0, book.size))
