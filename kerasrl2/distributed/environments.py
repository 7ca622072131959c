"""The environments of all workers, as the learner's loop sees them."""

import tensorflow as tf

from kerasrl2.envs.core import Environment


class RemoteEnvironments(Environment):
    """The environments that workers play, elsewhere.

    Tells what they are like; to `reset` it gives first observations, which are as good
    as any for shapes and dtypes.

    Args:
        local: `envs.Environment` of the kind that each worker has, which is not played.
        recipe: Callable without arguments that returns another such one.
        workers: `Workers`.
        joined: Boolean, whether a block has the columns of all workers, side by side.

    Attributes:
        local: The same.
        recipe: The same.
        workers: The same.
        pool: What `stop` ends: the workers, once there are some.
        close_local: Callable that closes `local`, if whoever made it wants that.

    Example:
    >>> import kerasrl2 as krl
    >>> def recipe():
    ...     return krl.envs.make("CartPole-v1", num_envs=4)
    >>> workers = krl.distributed.Workers(2)
    >>> env = RemoteEnvironments(recipe(), recipe, workers, joined=True)
    >>> _, observation = env.reset([0, 0])
    >>> env.num_envs, observation.shape
    (8, TensorShape([8, 4]))
    """

    def __init__(self, local, recipe, workers, joined):
        times = workers.count if joined else 1
        spaces = local.observation_space, local.action_space
        super().__init__(local.id, local.num_envs * times, *spaces)
        self.local, self.recipe, self.workers = local, recipe, workers
        self.times, self.pool = times, None
        self.close_local = lambda: None
        self.in_graph = local.in_graph
        self.always_valid = local.always_valid
        self.info_keys, self._infos = (), []

    not_state = (
        "local", "recipe", "workers", "pool", "info_keys", "_infos", "close_local",
    )  # fmt: skip

    @property
    def compilable(self):
        """True: nothing of them is in the learner's programs."""
        return True

    def reset(self, seed):
        _, observation = self.local.reset(seed)

        def repeated(leaf):
            return tf.concat([leaf] * self.times, axis=0)

        return (), tf.nest.map_structure(repeated, observation)

    def goal_reward(self, achieved, desired):
        return self.local.goal_reward(achieved, desired)

    def record_info(self, keys):
        if keys:
            self.local.record_info(keys)  # or says why it cannot
        self.info_keys = tuple(keys)

    def take_infos(self, slot, infos):
        """Keeps what a worker has sent of `finished_info`."""
        first = slot * self.local.num_envs
        self._infos += [(copy + first, episode, v) for copy, episode, v in infos]

    def finished_info(self):
        infos, self._infos = self._infos, []
        return infos

    def shares_copies_with(self, other):
        return self is other

    def stop(self):
        """Ends the workers, if there are any."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()

    def close(self):
        self.stop()
        self.close_local()
