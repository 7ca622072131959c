"""Callbacks that evaluate the agent or monitor its return."""

import keras

from kerasrl2._checks import check_positive_integer
from kerasrl2.callbacks._monitored import monitored


class EvaluateReturn(keras.callbacks.Callback):
    """Plays whole episodes at the end of epochs and logs their mean return.

    Adds `<prefix>_return`, `<prefix>_return_std` and `<prefix>_episode_length` to the
    epoch's logs; in epochs without an evaluation, the latest values. List it before
    callbacks that monitor them, which need `mode="max"` only with another `prefix`.

    Args:
        env: Environment id, callable, `gymnasium.Env` or `envs.Environment`, not the
            one that is trained on.
        episodes: Integer, episodes per evaluation.
        every: Integer, epochs from one evaluation to the next; the first epoch has one.
        greedy: Boolean, the policy's mode (True) or samples (False).
        seed: Integer, for the first states of the episodes.
        prefix: String, of the log names.
        max_episode_steps: As in `Agent.evaluate`.
        info_keys: As in `Agent.evaluate`; adds `<prefix>_<key>`, and
            `<prefix>_success_rate` for `is_success`.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> evaluation = EvaluateReturn("CartPole-v1", episodes=2)
    >>> history = agent.fit(
    ...     "CartPole-v1", steps=80, epochs=1, callbacks=[evaluation], verbose=0
    ... )
    >>> len(history.history["eval_return"])
    1
    """

    def __init__(
        self,
        env,
        episodes=10,
        every=1,
        greedy=True,
        seed=0,
        prefix="eval",
        max_episode_steps="auto",
        info_keys=(),
    ):
        super().__init__()
        check_positive_integer("episodes", episodes)
        check_positive_integer("every", every)
        self.env, self.episodes, self.every = env, episodes, every
        self.greedy, self.seed, self.prefix = greedy, seed, prefix
        self.max_episode_steps, self.info_keys = max_episode_steps, info_keys
        more = {"max_episode_steps": (max_episode_steps, "auto")}
        more["info_keys"] = (tuple(info_keys), ())
        # Only what differs, for agents whose `evaluate` is their own.
        self._more = {name: a for name, (a, usual) in more.items() if a != usual}
        self._scores = {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every == 0 or not self._scores:
            self._scores = self.model.evaluate(
                self.env,
                self.episodes,
                greedy=self.greedy,
                seed=self.seed,
                **self._more,
            )
        if logs is not None:
            names = ("return", "return_std", "episode_length", "success_rate")
            for name in (*names, *self.info_keys):
                if name in self._scores:
                    logs[f"{self.prefix}_{name}"] = self._scores[name]

    def get_state(self):
        """The part of a checkpoint for this callback; see `TrainingCheckpoint`."""
        return {"scores": self._scores}

    def set_state(self, state):
        self._scores = state["scores"]


class StopAtReturn(keras.callbacks.Callback):
    """Stops training once a return is reached.

    Args:
        value: Float, the return to reach.
        monitor: String, the name of the log to compare, for instance `"return"` or
            `"val_return"`.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> history = agent.fit(
    ...     "CartPole-v1",
    ...     steps=4_000,
    ...     epochs=10,
    ...     callbacks=[StopAtReturn(5, monitor="return")],
    ...     verbose=0,
    ... )
    >>> history.history["env_steps"]
    [400]
    """

    def __init__(self, value, monitor="val_return"):
        super().__init__()
        self.value, self.monitor = value, monitor

    def on_epoch_end(self, epoch, logs=None):
        if monitored(logs, self.monitor) >= self.value:
            self.model.stop_training = True
