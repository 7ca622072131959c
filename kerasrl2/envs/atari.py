"""Atari games of the Arcade Learning Environment with the usual preprocessing."""

import contextlib
import importlib
import inspect

import gymnasium
import numpy as np
import tensorflow as tf  # noqa: F401  (the example below)
from gymnasium import spaces, wrappers

from kerasrl2._checks import check_keywords, check_positive_integer, check_range
from kerasrl2.envs._python import PythonEnvironment
from kerasrl2.envs._world import World
from kerasrl2.errors import EnvironmentFailure

SIZE = 84
MAX_EPISODE_STEPS = 27_000
_FOREVER = 2**30  # frames; `Games` limits the steps itself


class AtariEnvironment(PythonEnvironment):
    """`N` copies of an Atari game, played in C++ threads by `ale_py`.

    Observations are `[N, 84, 84, frame_stack]` uint8: the latest frames in grey, oldest
    first. A new episode starts with copies of its first frame. Each frame is the
    maximum over the last two screens of a step, as games draw some objects on every
    other screen only. Rewards are the game's points, not clipped.

    The defaults are those of Machado et al. (2018), https://arxiv.org/abs/1709.06009,
    where sticky actions make games random, but with the game's own actions, not all 18.
    Those of Mnih et al. (2015), https://doi.org/10.1038/nature14236, are
    `sticky_actions=0.0, noop_max=30`, and for training `terminal_on_life_loss=True`.

    Args:
        id: String, `"ALE/..."`.
        num_envs: Integer >= 1, the number of copies `N`.
        frame_skip: Integer >= 1, frames of the game (60 per second) per step.
        frame_stack: Integer >= 1, frames in an observation.
        sticky_actions: Float in [0, 1], the probability, at each frame, that the game
            repeats the previous action instead of the agent's.
        noop_max: Integer >= 0, largest number of idle frames at the start of a game,
            drawn uniformly. Without sticky actions and idle frames all games are equal.
        fire_on_reset: Boolean, press FIRE at the start, in games with this action.
            After a lost life the agent has to press it.
        terminal_on_life_loss: Boolean, report a lost life as `terminated`. The game
            continues, with copies of the current frame. "Episodes", their returns and
            lengths are then single lives: evaluate without it.
        full_action_space: Boolean, all 18 actions of the console instead of the game's.
        max_episode_steps: Integer >= 1 or None, the steps after which a game is
            truncated. 27 000 steps of 4 frames are half an hour.

    Attributes:
        frame_stack: Integer, frames along the last axis of observations. A replay
            buffer with the same `frame_stack` stores each only once.

    Example:
    >>> env = AtariEnvironment("ALE/Pong-v5", num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> state, time_step = env.step(state, tf.constant([0, 2]), tf.constant([0, 2]))
    >>> time_step.observation.shape, time_step.reward.numpy().tolist()
    (TensorShape([2, 84, 84, 4]), [0.0, 0.0])
    >>> env.close()
    """

    def __init__(
        self,
        id,
        num_envs=1,
        frame_skip=4,
        frame_stack=4,
        sticky_actions=0.25,
        noop_max=0,
        fire_on_reset=False,
        terminal_on_life_loss=False,
        full_action_space=False,
        max_episode_steps=MAX_EPISODE_STEPS,
    ):
        check_positive_integer("num_envs", num_envs)
        _check_settings(
            {
                "frame_skip": frame_skip,
                "frame_stack": frame_stack,
                "sticky_actions": sticky_actions,
                "noop_max": noop_max,
                "max_episode_steps": max_episode_steps,
            }
        )
        with _packages_for(id):
            vector_env = importlib.import_module("ale_py.vector_env").AtariVectorEnv
        game = _rom(id)

        def build():
            return vector_env(
                game,
                num_envs,
                max_num_frames_per_episode=_FOREVER,
                repeat_action_probability=sticky_actions,
                full_action_space=full_action_space,
                img_height=SIZE,
                img_width=SIZE,
                stack_num=1,
                frameskip=frame_skip,
                noop_max=noop_max + 1 if noop_max else 0,  # drawn below this
                use_fire_reset=fire_on_reset,
                reward_clipping=False,
            )

        world = Games(id, build, frame_stack, terminal_on_life_loss, max_episode_steps)
        super().__init__(id, world)
        self.frame_stack = frame_stack
        self.max_episode_steps = max_episode_steps


class Games(World):
    """Steps `ale_py.vector_env.AtariVectorEnv` and stacks its frames, on NumPy arrays.

    The vector environment returns single frames, has no time limit and resets a game
    only on request: all ends are handled here. (At its own time limit it returns an old
    screen, and at its own life loss it starts a new game.)

    Args:
        id: String, for messages.
        build: Callable that returns a new `AtariVectorEnv`.
        frame_stack: Integer >= 1.
        terminal_on_life_loss: Boolean.
        max_episode_steps: Integer >= 1 or None.
    """

    def __init__(self, id, build, frame_stack, terminal_on_life_loss, limit):
        self._build, self._vector = build, build()
        n = self._vector.num_envs
        screens = spaces.Box(0, 255, [SIZE, SIZE, frame_stack], np.uint8)
        actions = spaces.Discrete(int(self._vector.single_action_space.n))
        super().__init__(id, (), n, screens, actions)
        self._life_loss, self._limit = terminal_on_life_loss, limit or _FOREVER
        self._frames = np.zeros([frame_stack, n, SIZE, SIZE], np.uint8)
        self._lives = self._elapsed = np.zeros([n], np.int64)
        self._in_call = False

    def reset(self, seed):
        """Seeds and resets all games, each with its own seed.

        Args:
            seed: `[2]` int32.

        Returns:
            `(token, observation)`: `[]` int32 and `[N, 84, 84, frame_stack]`.
        """
        self._begin()
        if self._in_call:  # a call was interrupted: its threads may still run
            self._vector, self._in_call = self._build(), False
        words = [int(word) % 2**32 for word in seed]
        seeds = np.random.SeedSequence(words).generate_state(self.num_envs)
        frames, info = self._ask("reset", seed=(seeds % 2**31).astype(np.int64))
        self._frames[:] = frames[:, 0]
        self._lives, self._elapsed = info["lives"], np.zeros_like(self._elapsed)
        observation = self.observation.empty(self.num_envs)
        return np.int32(self._done()), self._stack_into(observation)

    def step(self, token, action):
        """Steps all games; those that end are reset at once.

        Args:
            token: `[]` int32, from the latest `reset`, plus 1 for each step since.
            action: `[N]` integer.

        Returns:
            `(observations, outcome)` as from `World.step`.
        """
        self._begin_step(token)
        actions = self.action.take(action)
        frames, reward, terminated, _, info = self._ask("step", actions)
        self._elapsed = self._elapsed + 1
        truncated = self._elapsed >= self._limit
        over, lives = terminated | truncated, info["lives"]
        if self._life_loss:  # `lives > 0`: some games continue a while at 0 lives
            terminated = terminated | ((lives > 0) & (lives < self._lives))
        self._frames[:-1] = self._frames[1:]
        self._frames[-1] = frames[:, 0]
        current, following = observations = self.observation.empty(2, self.num_envs)
        self._stack_into(following)
        for index in np.flatnonzero(terminated | truncated):
            self._end_episode(index, self._info_of(index, info))
        if over.any():
            frames, info = self._ask("reset", options={"reset_mask": over})
            lives = info["lives"]
            self._elapsed = np.where(over, 0, self._elapsed)
        ended = terminated | truncated
        if ended.any():
            self._frames[:, ended] = frames[ended, 0]
            self._stack_into(current)
        else:
            current[:] = following
        self._lives = lives
        self._done()
        return observations, np.array([reward, terminated, truncated], np.float32)

    def _info_of(self, index, info):
        """The `info` of one game, for those who want it."""
        return {key: info[key][index] for key in info} if self.info_keys else {}

    def close(self):
        """Ends the threads. May be called twice."""
        self.closed, self._vector = True, None

    def _stack_into(self, observation):
        for age, frame in enumerate(self._frames):
            observation[..., age] = frame
        return observation

    def _ask(self, method, *arguments, **keywords):
        """Calls the vector environment; `_in_call` stays True if it is interrupted."""
        self._in_call = True
        try:
            result = getattr(self._vector, method)(*arguments, **keywords)
        except Exception as error:
            raise EnvironmentFailure(
                f"`{method}` of {self.id} (step {self._steps}) raised "
                f"{type(error).__name__}: {error}",
                step=self._steps,
            ) from error
        self._in_call = False
        return result


def settings_of_games(id, settings):
    """Checked keywords of `AtariEnvironment`, with defaults, without `num_envs`."""
    parameters = [*inspect.signature(AtariEnvironment).parameters.values()][2:]
    defaults = {parameter.name: parameter.default for parameter in parameters}
    check_keywords(id, settings, defaults)
    return {**defaults, **settings}


def single_game(id, render_mode=None, **settings):
    """One game as a `gymnasium.Env` with the observations of `AtariEnvironment`.

    Built from Gymnasium's own wrappers: slower, but it can be rendered, in colour.

    Args:
        id: String, `"ALE/..."`.
        render_mode: String or None, `"rgb_array"` or `"human"`.
        **settings: As for `AtariEnvironment`. `terminal_on_life_loss` is ignored: an
            episode is a whole game. Idle frames are drawn from 1 to `noop_max`.

    Returns:
        `gymnasium.Env`.

    Example:
    >>> env = single_game("ALE/Pong-v5", render_mode="rgb_array")
    >>> env.reset(seed=0)[0].shape, env.render().shape
    ((84, 84, 4), (210, 160, 3))
    """
    settings = settings_of_games(id, settings)
    _check_settings(settings)
    with _packages_for(id):
        importlib.import_module("ale_py")  # registers the games
        importlib.import_module("cv2")  # with which Gymnasium makes the observations
    env = gymnasium.make(
        id,
        frameskip=1,
        repeat_action_probability=settings["sticky_actions"],
        full_action_space=settings["full_action_space"],
        obs_type="grayscale",  # the fastest; the wrapper makes the observations
        max_num_frames_per_episode=None,
        render_mode=render_mode,
        disable_env_checker=True,
    )
    if settings["fire_on_reset"] and "FIRE" in env.unwrapped.get_action_meanings():
        env = _FireOnReset(env)
    noop_max, stack = settings["noop_max"], settings["frame_stack"]
    env = wrappers.AtariPreprocessing(env, noop_max, settings["frame_skip"], SIZE)
    env = _OneThread(env)
    env = wrappers.FrameStackObservation(env, stack, padding_type="reset")
    screens = spaces.Box(0, 255, [SIZE, SIZE, stack], np.uint8)
    env = wrappers.TransformObservation(env, lambda x: np.moveaxis(x, 0, -1), screens)
    if settings["max_episode_steps"] is not None:
        env = wrappers.TimeLimit(env, settings["max_episode_steps"])
    return env


class _FireOnReset(gymnasium.Wrapper):
    """Presses FIRE for the first frame of a game."""

    def reset(self, *, seed=None, options=None):
        self.env.reset(seed=seed, options=options)
        fire = self.unwrapped.get_action_meanings().index("FIRE")
        observation, _, _, _, info = self.env.step(fire)
        return observation, info


class _OneThread(gymnasium.Wrapper):
    """Lets OpenCV use one thread.

    It resizes a screen in 0.05 ms; on a busy machine, waking a second thread takes 50.
    """

    def reset(self, *, seed=None, options=None):
        with self._one_thread():
            return self.env.reset(seed=seed, options=options)

    def step(self, action):
        with self._one_thread():
            return self.env.step(action)

    @staticmethod
    @contextlib.contextmanager
    def _one_thread():
        cv2 = importlib.import_module("cv2")
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(before)


@contextlib.contextmanager
def _packages_for(id):
    """A package that is not installed is one sentence that says how to."""
    try:
        yield
    except ImportError:
        raise ImportError(
            f'{id} needs a missing package: pip install "kerasrl2[atari]"'
        ) from None


def _rom(id):
    """Name of an id's game in `ale_py`, such as `"space_invaders"`."""
    game = gymnasium.spec(id).kwargs.get("game")
    if game is None or not id.startswith("ALE/"):
        raise ValueError(f'Expected an id such as "ALE/Pong-v5". Received: {id!r}')
    return game


def _check_settings(settings):
    for name in ("frame_skip", "frame_stack"):
        check_positive_integer(name, settings[name])
    check_range("sticky_actions", settings["sticky_actions"], 0.0, 1.0)
    check_range("noop_max", settings["noop_max"], 0)
    if settings["noop_max"]:
        check_positive_integer("noop_max", settings["noop_max"])
    if settings["max_episode_steps"] is not None:
        check_positive_integer("max_episode_steps", settings["max_episode_steps"])
