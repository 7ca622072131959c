"""A continuous double auction in plain Python, one order after another."""

FIRST_PRICE, HIGHEST = 100, 10_000


class NaiveAuction:
    """One game. `tape` is a list of `(buyer, seller, units, price)`."""

    def __init__(self, traders, mark="first"):
        self.traders, self.mark = traders, mark
        self.cash, self.units = [0] * traders, [0] * traders
        self.orders = []  # dictionaries, the earliest first
        self.last, self.tape = FIRST_PRICE, []

    def values(self):
        mark = self.last if self.mark == "last" else FIRST_PRICE
        return [c + u * mark for c, u in zip(self.cash, self.units, strict=True)]

    def send(self, trader, kind, size, level):
        """One order; `kind` and `level` as in the environment, `size` in units."""
        if kind == 5:
            self.orders = [o for o in self.orders if o["trader"] != trader]
        if kind in (0, 5):
            return
        buys, limit = kind in (1, 3), kind in (3, 4)
        price = self.last + (1 - level if buys else level - 1)
        price = min(max(price, 1), HIGHEST)
        others = [
            o for o in self.orders
            if o["buys"] != buys and o["trader"] != trader and o["size"]
            and (not limit or (o["price"] <= price if buys else o["price"] >= price))
        ]  # fmt: skip
        # `sorted` is stable: equal prices stay in the order of time.
        for order in sorted(others, key=lambda o: o["price"] if buys else -o["price"]):
            units = min(size, order["size"])
            if units:
                self.trade(trader, order, units, buys)
                size -= units
        if limit:
            mine = [
                o for o in self.orders if o["trader"] == trader and o["buys"] == buys
            ]
            for order in mine:
                self.orders.remove(order)
            if size:
                self.orders.append(
                    {"trader": trader, "buys": buys, "price": price, "size": size}
                )

    def trade(self, taker, order, units, buys):
        order["size"] -= units
        buyer, seller = (taker, order["trader"]) if buys else (order["trader"], taker)
        worth = units * order["price"]
        self.cash[buyer] -= worth
        self.cash[seller] += worth
        self.units[buyer] += units
        self.units[seller] -= units
        self.last = order["price"]
        self.tape.append((buyer, seller, units, order["price"]))

    def resting(self):
        """Set of `(trader, buys, price, size)`."""
        return {
            (o["trader"], o["buys"], o["price"], o["size"])
            for o in self.orders
            if o["size"]
        }
