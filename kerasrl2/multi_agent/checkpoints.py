"""Checkpoints of self-play: the agent in its seat, the pool, and all ratings."""

from kerasrl2.errors import CheckpointError
from kerasrl2.training.array_checkpoints import ArrayCheckpoints, with_prefix


class SelfPlayCheckpoints(ArrayCheckpoints):
    """Checkpoints of a `SelfPlay`, numbered by round.

    Args:
        directory: String or path, of one run.
    """

    def __init__(self, directory):
        super().__init__(directory, "self-play")

    def write(self, play):
        """Writes what the next round begins with."""
        arrays = {f"agent/{name}": v.numpy() for name, v in play.variables().items()}
        for i, frozen in enumerate(play.pool):
            arrays |= {f"pool/{i}/{j}": w for j, w in enumerate(frozen.weights)}
        self.save(play.rounds, arrays, play.state(), _fixed(play))

    def restore_into(self, play, resume):
        """Restores the newest checkpoint; returns whether there was one.

        Raises:
            ValueError: There are checkpoints, but `resume` is False.
            CheckpointError: They are of another run.
        """
        newest = self.newest(resume, _fixed(play))
        if newest is None:
            return False
        arrays, about, path = newest
        kept, variables = with_prefix("agent/", arrays), play.variables()
        shapes = [
            {name: tuple(each.shape) for name, each in part.items()}
            for part in (variables, kept)
        ]
        if shapes[0] != shapes[1]:
            names = {name for name, _ in shapes[0].items() ^ shapes[1].items()}
            raise CheckpointError(
                f"Expected an agent like that of {path}. Received: one with other "
                f"variables: {', '.join(sorted(names)[:3])}. Make it with the same "
                "settings."
            )
        for name, variable in variables.items():
            variable.assign(kept[name])
        play.set_state(about, lambda i: _in_order(with_prefix(f"pool/{i}/", arrays)))
        return True


def _in_order(weights):
    return [weights[str(j)] for j in range(len(weights))]


def _fixed(play):
    return {"env": play.env.id, "pool_size": play.pool_size}
