"""Members without agents, whose scores are known."""

import numpy as np


class Quadratic:
    """A member whose score is `-(h - 0.5)**2`; its state adds up its scores."""

    structure = "quadratic"

    def __init__(self, h):
        self.h, self.total, self.trained = h, np.zeros([]), np.zeros([])

    def train(self, steps):
        score = -((self.h - 0.5) ** 2)
        self.total, self.trained = self.total + score, self.trained + steps
        return score

    def get_numbers(self, names):
        return {name: getattr(self, name) for name in names}

    def set_numbers(self, numbers):
        vars(self).update(numbers)

    def get_state(self, whole=False):
        own = {"trained": self.trained, "h": np.array(self.h)} if whole else {}
        return {"total": self.total, **own}

    def set_state(self, state):
        for name, value in state.items():
            setattr(self, name, float(value) if name == "h" else value)


class Scripted(Quadratic):
    """A member with the scores of a list, one after another."""

    def __init__(self, h, scores):
        super().__init__(h)
        self.scores = list(scores)

    def train(self, steps):
        super().train(steps)
        return self.scores.pop(0)
