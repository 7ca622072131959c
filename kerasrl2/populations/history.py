"""What happened in a population: scores, hyper-parameters, and who copied whom."""


class PopulationHistory:
    """Rows of all generations, like `keras.callbacks.History`.

    Attributes:
        history: Dictionary of names to lists, one entry per generation. `generation`:
            integer, from 1. `score`: list of the members' scores after training, `-inf`
            for a member that came to NaN. `copied_from`: list of the members' donors
            before training, None for a member that copied nobody. Each hyper-parameter:
            list of the members' numbers while they trained. `rating`: list of Elo
            ratings, with `EloSelection`.

    Example:
    >>> history = PopulationHistory()
    >>> rows = [(1, [1.0, 2.0], [None, None]), (2, [3.0, 2.5], [1, None])]
    >>> for generation, score, donors in rows:
    ...     history.add({"generation": generation, "score": score,
    ...                  "copied_from": donors, "learning_rate": [0.1, 0.01]})
    >>> history.copies()
    [(2, 0, 1)]
    >>> history.schedule("learning_rate", member=0)
    [0.01, 0.1]
    """

    def __init__(self):
        self.history = {"generation": [], "score": [], "copied_from": []}

    def add(self, row):
        """Appends the row of a generation, a dictionary."""
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)

    def copies(self):
        """List of `(generation, member, donor)`, in order."""
        return [
            (generation, member, donor)
            for generation, donors in zip(
                self.history["generation"], self.history["copied_from"], strict=True
            )
            for member, donor in enumerate(donors)
            if donor is not None
        ]

    def lineage(self, member):
        """List of the members whose weights a member has now, one per generation."""
        line = []
        for donors in reversed(self.history["copied_from"]):
            line.append(member)
            member = member if donors[member] is None else donors[member]
        return line[::-1]

    def schedule(self, name, member):
        """The values of a hyper-parameter that a member's weights were trained with.

        What population-based training has found: a schedule, not a number.

        Args:
            name: String.
            member: Integer.
        """
        rows = zip(self.history[name], self.lineage(member), strict=True)
        return [values[index] for values, index in rows]
