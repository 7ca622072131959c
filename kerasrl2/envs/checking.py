"""Checks environments for faults before an agent is trained on them."""

import warnings

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs import _check_tensors, _check_twin
from kerasrl2.envs._check_play import Player
from kerasrl2.envs._check_report import Finding, Report, described
from kerasrl2.envs._check_spaces import check_action_space
from kerasrl2.envs._interface import is_batched
from kerasrl2.envs._masks import MASK, masks_for
from kerasrl2.envs._spaces import codec, entry_at, leaf_spaces, texts
from kerasrl2.envs.core import Environment, TensorFlowEnvironment
from kerasrl2.envs.registry import ids, make, make_single

__all__ = ["Finding", "check"]

_GYMNASIUM = "Gymnasium's checker: "
# Parts of errors of Gymnasium's checker with which training works, and advice.
_HARMLESS = {
    "share an object": "training copies what it gets; return `copy()`s for others",
    "determinis": "let all chance come from `self.np_random`",
    "not equivalent": "let all chance come from `self.np_random`",
    "random": "begin `reset` with `super().reset(seed=seed)`",
    "seed": "begin `reset` with `super().reset(seed=seed)`",
    "`options`": "give `reset` the keyword `options=None`",
    "truncates after 1 step": "look at the time limit",
}
_ADVICE = "see https://gymnasium.farama.org/introduction/create_custom_env/"


def check(env, steps=1_000, seed=0, twin=None, **kwargs):
    """Faults of an environment, found by Gymnasium's checker and by random play.

    Looks for: exceptions; observations that are outside their space, of another shape
    or dtype, NaN or infinite; rewards that are not numbers, not finite or huge; end
    flags that are not Booleans; spaces that change, that no agent can use, or whose
    bounds do not fit what is seen; returned arrays that change later; episodes that end
    at once or never; randomness that does not follow the seed; slow steps. If the
    environment hangs, so does the check: Ctrl-C shows where, and
    `make(..., subprocess=True, time_limit=30.0)` guards training.

    Args:
        env: As for `make`: an id, a callable that returns a new `gymnasium.Env`, one
            `gymnasium.Env`, a `VectorEnv`, or an `Environment`. Given objects are left
            in the middle of an episode; others are made here and closed.
        steps: Integer >= 1, steps of random play.
        seed: Integer, of environment and actions.
        twin: For a `TensorFlowEnvironment` that Gymnasium has, too: callable from the
            `physics` of one copy, a nest of NumPy arrays, to a `gymnasium.Env` in this
            state. Observations, rewards and ends of single steps are compared.
        **kwargs: As for `make`: `backend`, `wrappers`, the constructor's keywords.

    Returns:
        List of `Finding`, errors first. Empty if nothing was found.

    Raises:
        ValueError: There is no such environment, or no twin of it can be.

    Example:
    >>> check("CartPole-v1", steps=100)
    []
    >>> class Silent(gymnasium.Env):
    ...     observation_space = spaces.Box(0.0, 1.0, [1], np.float32)
    ...     action_space = spaces.Discrete(2)
    ...
    ...     def reset(self, seed=None, options=None):
    ...         super().reset(seed=seed)
    ...         return np.zeros(1, np.float32), {}
    ...
    ...     def step(self, action):
    ...         return np.zeros(1, np.float32), float("nan"), False, False, {}
    >>> finding = check(Silent, steps=10)[0]
    >>> finding.severity, finding.what
    ('error', 'the reward is nan')
    """
    check_positive_integer("steps", steps)
    if twin is not None and not isinstance(env, TensorFlowEnvironment):
        raise ValueError(
            "Expected a `TensorFlowEnvironment` with `twin`: from each of its states a "
            f"step is compared. Received: {env!r:.100}"
        )
    report = Report()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if isinstance(env, Environment) or is_batched(env):
            _check_tensors.play(make(env, **kwargs), steps, seed, report)
            if twin is not None and not report.has_errors():
                _check_twin.compare(env, twin, min(steps, 200), seed, report)
        elif isinstance(env, str) and _has_own_version(env, **kwargs):
            _check_made(env, steps, seed, report, kwargs)
        else:
            _check_gymnasium(env, steps, seed, report, **kwargs)
    for warning in caught:  # also those of Gymnasium's wrappers
        text = str(warning.message)
        if "WARN: " in text:
            _take_warning(text.split("WARN: ")[1].removesuffix("\x1b[0m"), report)
    return report.sorted()


def _has_own_version(env, backend="auto", wrappers=(), **kwargs):
    """Whether `make` makes something else of an id than Gymnasium's version."""
    ours = env in ids() or env.startswith("ALE/")
    return backend == "tensorflow" or (ours and backend == "auto" and not wrappers)


def _check_made(env, steps, seed, report, kwargs):
    """Checks what `make` makes of `env`, and closes it."""
    made = make(env, **kwargs)
    try:
        _check_tensors.play(made, steps, seed, report)
    finally:
        made.close()


def _check_gymnasium(
    env, steps, seed, report, backend="gymnasium", wrappers=(), **kwargs
):
    given = isinstance(env, gymnasium.Env)
    called = callable(env) and not given
    try:
        first = env(**kwargs) if called else env
        if is_batched(first):
            _check_made(first, steps, seed, report, {"wrappers": wrappers})
            return
        first = make_single(first, backend, wrappers, **({} if called else kwargs))
        second = first if given else make_single(env, backend, wrappers, **kwargs)
    except Exception as error:
        known = ValueError, ImportError, gymnasium.error.Error
        if not callable(env) and isinstance(error, known):
            raise  # no such environment
        report.error(f"making it raised {described(error)}", "", "fix its constructor")
        return
    try:
        if not given and first is second:
            report.error(
                "the callable returns the same environment twice",
                "",
                "return a new environment at each call; each copy needs its own",
            )
        if _lacks_spaces(first, report):
            return
        _check_spaces(first, second, report)
        if not check_action_space(first.action_space, report):
            return
        Player(first, report).play(steps, seed)
        if not report.has_errors():
            _compare_runs(first, second, seed, report)
        if masks_for(second.observation_space, second.action_space, second.reset):
            return  # Gymnasium's checker plays actions that are not legal
        _run_gymnasiums_checker(second, report)
    finally:
        if not given:
            _close(first, report)
            _close(second, report)


def _lacks_spaces(env, report):
    """Whether a space is missing, without which nothing can be played."""
    missing = False
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, spaces.Space):
            missing = True
            report.error(
                f"its `{name}` is {space!r}",
                "",
                "set it in the constructor, to one of `gymnasium.spaces`",
            )
    return missing


def _check_spaces(first, second, report):
    for name in ("observation_space", "action_space"):
        space = getattr(first, name)
        if space != getattr(second, name):
            report.error(
                f"two copies have different `{name}`s: {space} and "
                f"{getattr(second, name)}",
                "",
                "give all copies one space; a wrapper can pad what differs",
            )
        try:
            codec(space, name.removesuffix("_space"))
        except ValueError as error:
            report.error(
                f"no agent knows the `{name}` {space}", "", _wrapper(name, error)
            )
    for text in texts(first.observation_space):
        report.note(
            f"the text `{text}` is left out: networks take numbers",
            "",
            "if agents need it, encode it: `gymnasium.wrappers.TransformObservation`",
        )
    action = first.action_space
    if isinstance(action, spaces.Box):
        if not np.issubdtype(action.dtype, np.floating):
            report.error(
                f"no agent knows the integer `action_space` {action}",
                "",
                "declare a `Discrete` or a floating-point `Box` space of actions",
            )
        elif not action.is_bounded():
            report.warning(
                f"the `action_space` {action} has no bounds",
                "",
                'give it finite ones, or choose `distribution="gaussian"`',
            )


def _wrapper(name, error):
    """The remedy for a space that no agent knows, with the message of its codec."""
    if name == "observation_space":
        return f"convert what is meant here: {error}"
    return "wrap it: `gymnasium.wrappers.TransformAction` to a `Box` or `Discrete`"


def _compare_runs(first, second, seed, report):
    """Reports if two runs with the same seed and actions differ."""
    runs = [_run(env, seed) for env in (first, second)]
    if not all(map(_equal, *(run[0] for run in runs))):
        report.warning(
            f"`reset(seed={seed})` gives different first observations",
            "reset",
            "begin `reset` with `super().reset(seed=seed)` and let all chance come "
            "from `self.np_random`; until then no run can be repeated",
        )
        return
    lengths = {len(run) for run in runs}
    steps = [[array for values in run for array in values] for run in runs]
    if len(lengths) > 1 or not all(map(_equal, *steps)):
        report.warning(
            "the same seed and actions give different steps",
            "",
            "let all chance come from `self.np_random`; until then no run can be "
            "repeated",
        )


def _run(env, seed, steps=10):
    """Arrays of the first observation and of each step, of at most `steps`."""
    leaves = leaf_spaces(env.observation_space)
    masks = masks_for(env.observation_space, env.action_space, env.reset)

    def arrays(observation, *more):
        entries = [entry_at(observation, keys) for keys, _ in leaves]
        return [np.array(value) for value in (*entries, *more)]

    observation, info = env.reset(seed=seed)
    values = [arrays(observation)]
    for number in range(steps):
        env.action_space.seed(seed + number)
        action = env.action_space.sample()
        if masks is not None:
            action = masks.sample(masks.observed(observation, info)[MASK])
        observation, reward, terminated, truncated, info = env.step(action)
        values.append(arrays(observation, reward))
        if terminated or truncated:
            break
    return values


def _equal(a, b):
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _run_gymnasiums_checker(env, report):
    try:
        check_env(env, skip_render_check=True, skip_close_check=True)
    except (AssertionError, gymnasium.error.Error) as error:
        text = " ".join(str(error).split())
        for part, advice in _HARMLESS.items():
            if part in text:
                report.warning(_GYMNASIUM + text, "", advice)
                return
        report.error(_GYMNASIUM + text, "", _ADVICE)
    except Exception as error:
        if not report.has_errors():  # else random play has likely reported it
            report.error(_GYMNASIUM + described(error), "", "see the traceback")


def _take_warning(text, report):
    """Reports a warning of Gymnasium, unless it has no effect on training."""
    text = " ".join(text.split())
    if "different from the unwrapped version" in text:
        return
    if "observation space" in text and "infinity" in text:
        return  # agents scale by observed statistics, not by the bounds
    advice = _ADVICE
    if "symmetric and normalized" in text:
        advice = "agents rescale to the bounds: nothing to do"
        report.note(_GYMNASIUM + text, "", advice)
        return
    report.warning(_GYMNASIUM + text, "", advice)


def _close(env, report):
    try:
        env.close()
    except Exception as error:
        report.error(
            f"`close` raised {described(error)}", "close", "let `close` pass twice"
        )
