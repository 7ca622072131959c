"""Tests of `kerasrl2.returns`."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.returns import (
    discounted_returns,
    generalized_advantages,
    lambda_returns,
    n_step_returns,
    vtrace_targets,
)


@pytest.fixture
def rollout(golden):
    """The golden inputs in float64 and the outputs."""
    file = golden("returns")
    x = {k: np.array(v) for k, v in file["inputs"].items()}
    discount = file["gamma"] * (1.0 - x["terminated"])
    ended = x["terminated"] | x["truncated"]
    return file, (x["reward"], discount, ended), x


def test_golden(compiled, rollout):
    file, (reward, discount, ended), x = rollout
    value, next_value = x["value"], x["next_value"]

    def everything(reward, discount, ended, value, next_value, pi, mu):
        head = (reward, discount, ended)
        vtrace = vtrace_targets(
            *head, value, next_value, pi, mu, file["lambda_vtrace"], 1.0, 1.0
        )
        return {
            "discounted_returns": discounted_returns(*head, next_value),
            "lambda_returns": lambda_returns(*head, next_value, file["lambda_"]),
            "generalized_advantages": generalized_advantages(
                *head, value, next_value, file["lambda_"]
            ),
            "n_step_returns_bootstrap": n_step_returns(*head, next_value, file["n"]),
            "n_step_returns_zero": n_step_returns(*head, next_value, file["n"], "zero"),
            "vtrace_targets": vtrace.targets,
            "vtrace_policy_advantages": vtrace.policy_advantages,
        }

    pi, mu = x["log_prob"], x["behaviour_log_prob"]
    inputs = map(tf.constant, (reward, discount, ended, value, next_value, pi, mu))
    result = compiled(everything)(*inputs)
    for name, tensor in result.items():
        assert tensor.dtype == tf.float64
        np.testing.assert_allclose(tensor, file["outputs"][name], atol=1e-9)
    # [T] alone gives the column, and trailing axes are free.
    column = everything(reward[:, 1], *(a[:, 1] for a in (discount, ended, value)),
                        next_value[:, 1], pi[:, 1], mu[:, 1])  # fmt: skip
    folded = everything(
        *(
            a.reshape(-1, 2, 2)
            for a in (reward, discount, ended, value, next_value, pi, mu)
        )
    )
    for name, tensor in result.items():
        np.testing.assert_allclose(column[name], tensor[:, 1], atol=1e-12)
        np.testing.assert_allclose(folded[name], tf.reshape(tensor, [-1, 2, 2]))


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize(
    ("n", "zero", "bootstrap"),
    [  # by hand: gamma 2, reward = value = 0..4, the value after the end is 10
        (1, [2, 5, 8, 11, 4], [2, 5, 8, 11, 24]),
        (2, [10, 17, 24, 11, 4], [10, 17, 24, 51, 24]),
        (3, [34, 49, 24, 11, 4], [34, 49, 104, 51, 24]),
        (4, [98, 49, 24, 11, 4], [98, 209, 104, 51, 24]),
        (5, [98, 49, 24, 11, 4], [418, 209, 104, 51, 24]),
        (7, [98, 49, 24, 11, 4], [418, 209, 104, 51, 24]),
    ],
)
def test_n_step_tails_by_hand(dtype, n, zero, bootstrap):
    """The source of these numbers knows no V(s_5) in its "zero" variant: it is 0."""
    head = (tf.cast(tf.range(5), dtype), [2.0] * 5, [False] * 5)
    known, unknown = [1.0, 2.0, 3.0, 4.0, 10.0], [1.0, 2.0, 3.0, 4.0, 0.0]
    np.testing.assert_array_equal(n_step_returns(*head, unknown, n, "zero"), zero)
    np.testing.assert_array_equal(n_step_returns(*head, known, n), bootstrap)
    # With V(s_5), tail="zero" uses it where exactly n rewards exist: at t = 5 - n.
    expected = np.array(zero)
    if n <= 5:
        expected[5 - n] += 10 * 2**n
    np.testing.assert_array_equal(n_step_returns(*head, known, n, "zero"), expected)


def test_integer_rewards_are_not_truncated():
    discount, ended = [0.5] * 3, [False] * 3
    result = discounted_returns(np.array([1, 1, 1]), discount, ended, [0.0] * 3)
    np.testing.assert_allclose(result, [1.75, 1.5, 1.0])


@pytest.mark.parametrize(
    ("terminated", "truncated", "next_value", "advantage"),
    [  # by hand: r = 1, V = [.5, .4, .3], V(s_3) = .2, gamma .9, lambda .8
        (None, None, [0.4, 0.3, 0.2], [1.942592, 1.5036, 0.88]),
        (2, None, [0.4, 0.3, 0.2], [1.84928, 1.374, 0.7]),
        (1, None, [0.4, 0.3, 0.2], [1.292, 0.6, 0.88]),
        (None, 1, [0.4, 0.25, 0.2], [1.454, 0.825, 0.88]),
        (1, 1, [0.4, 0.25, 0.2], [1.292, 0.6, 0.88]),  # terminated wins
    ],
)
def test_advantages_by_hand(terminated, truncated, next_value, advantage):
    terminated = np.arange(3) == terminated
    ended = terminated | (np.arange(3) == truncated)
    discount = 0.9 * (1.0 - terminated)
    value = [0.5, 0.4, 0.3]
    result = generalized_advantages(
        [1.0] * 3, discount, ended, value, next_value, lambda_=0.8
    )
    np.testing.assert_allclose(result, advantage, atol=1e-6)


def test_limits(rollout):
    _, head, x = rollout
    value, next_value = x["value"], x["next_value"]
    reward, discount, ended = head
    td_error = reward + discount * next_value - value
    monte_carlo = discounted_returns(*head, next_value)
    on_policy = (x["log_prob"], x["log_prob"])

    def equal(a, b):
        np.testing.assert_allclose(a, b, atol=1e-12)

    equal(generalized_advantages(*head, value, next_value, 0.0), td_error)
    equal(generalized_advantages(*head, value, next_value, 1.0), monte_carlo - value)
    equal(lambda_returns(*head, next_value, 0.0), td_error + value)
    equal(n_step_returns(*head, next_value, 1), td_error + value)
    equal(n_step_returns(*head, next_value, 9), monte_carlo)
    equal(n_step_returns(*head, next_value, 10**6), monte_carlo)
    # The rollout's own values, so that V(s_{t+1}) is value[t + 1] inside an episode.
    vtrace = vtrace_targets(*head, value, next_value, *on_policy)
    own = np.where(ended, next_value, np.vstack([value[1:], next_value[-1:]]))
    equal(own, next_value)
    equal(vtrace.targets, monte_carlo)
    equal(vtrace.policy_advantages, monte_carlo - value)


def naive(reward, discount, ended, next_value, lambda_, n, tail):
    """One column, loops: the lambda-return and the n-step return."""
    length = len(reward)
    mixed, n_step = np.zeros(length), np.zeros(length)
    for t in reversed(range(length)):
        last = ended[t] or t == length - 1
        rest = next_value[t]
        if not last:
            rest = (1 - lambda_) * next_value[t] + lambda_ * mixed[t + 1]
        mixed[t] = reward[t] + discount[t] * rest
        scale, used = 1.0, 0
        for k in range(t, min(t + n, length)):
            n_step[t] += scale * reward[k]
            scale, used = scale * discount[k], used + 1
            if ended[k]:
                break
        if used == n or tail == "bootstrap":
            n_step[t] += scale * next_value[k]
    return mixed, n_step


@pytest.mark.parametrize("length", [1, 2, 5, 16, 33])
def test_random_rollouts_against_loops(length):
    rng = np.random.default_rng(length)
    reward, next_value = rng.normal(size=(2, length, 6))
    terminated, truncated = rng.random((2, length, 6)) < 0.15
    head = (reward, 0.9 * (1 - terminated), terminated | truncated)
    for n, tail in [(1, "zero"), (3, "bootstrap"), (4, "zero"), (50, "zero")]:
        columns = [
            naive(*(a[:, i] for a in (*head, next_value)), 0.7, n, tail)
            for i in range(6)
        ]
        mixed, n_step = np.moveaxis(columns, 0, -1)
        np.testing.assert_allclose(
            lambda_returns(*head, next_value, 0.7), mixed, atol=1e-12
        )
        np.testing.assert_allclose(
            n_step_returns(*head, next_value, n, tail), n_step, atol=1e-12
        )


def test_next_value_after_the_end_of_an_episode_does_not_leak(rollout):
    _, (reward, discount, ended), x = rollout
    value, next_value = x["value"].copy(), x["next_value"]
    before = generalized_advantages(reward, discount, ended, value, next_value)
    value[2:, 2] += 100.0  # the next episode of a row truncated at t = 1
    after = generalized_advantages(reward, discount, ended, value, next_value)
    np.testing.assert_array_equal(before[:2], after[:2])


def test_no_argument_receives_a_gradient(compiled, rollout):
    _, (reward, discount, ended), x = rollout
    names = ("value", "next_value", "log_prob", "behaviour_log_prob")
    inputs = [tf.constant(a) for a in (reward, discount, *(x[k] for k in names))]

    def total(reward, discount, value, next_value, pi, mu):
        head = (reward, discount, tf.constant(ended))
        outputs = [
            discounted_returns(*head, next_value),
            n_step_returns(*head, next_value, 3),
            generalized_advantages(*head, value, next_value),
            *vtrace_targets(*head, value, next_value, pi, mu),
        ]
        return [tf.reduce_sum(y) for y in outputs]

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        outputs = compiled(total)(*inputs)
    for output in outputs:
        gradients = tape.gradient(output, inputs, unconnected_gradients="zero")
        assert all(np.all(g.numpy() == 0.0) for g in gradients)


def test_vtrace_clips_by_hand():
    """One step: ratio 4, V = 1, target 1 + rho * (2 + 0.5 * 6 - 1)."""
    args = ([2.0], [0.5], [False], [1.0], [6.0], np.log([4.0], dtype="f4"), [0.0])
    for clip, target in [(1.0, 5.0), (3.0, 13.0), (9.0, 17.0)]:
        result = vtrace_targets(*args, clip_rho=clip)
        np.testing.assert_allclose(result.targets, [target], rtol=1e-6)
        np.testing.assert_allclose(result.policy_advantages, [target - 1.0], rtol=1e-6)
    # Two steps: c scales only what comes back from step 1 (delta_1 = rho = 1).
    ratio = np.log([4.0, 1.0]).astype("f4")
    args = (
        [0.0, 1.0],
        [0.5, 0.5],
        [False] * 2,
        [0.0, 0.0],
        [0.0, 0.0],
        ratio,
        [0.0] * 2,
    )
    for lambda_, clip, first in [(1.0, 1.0, 0.5), (1.0, 2.0, 1.0), (0.5, 9.0, 1.0)]:
        result = vtrace_targets(*args, lambda_, clip_c=clip)
        np.testing.assert_allclose(result.targets, [first, 1.0], rtol=1e-6)
        np.testing.assert_allclose(
            result.policy_advantages, [0.5 * lambda_, 1.0], rtol=1e-6
        )


def test_large_n_does_not_grow_the_graph():
    def nodes(n):
        spec = tf.TensorSpec([512, 2])
        function = tf.function(lambda r: n_step_returns(r, r, r > 0.0, r, n))
        return len(function.get_concrete_function(spec).graph.as_graph_def().node)

    assert nodes(300) <= nodes(2) + 2


def test_bad_input():
    row, flags = tf.zeros([3, 2]), tf.zeros([3, 2], tf.bool)
    with pytest.raises(ValueError, match=r"'next_value': \(3, 1\)"):
        discounted_returns(row, row, flags, row[:, :1])
    with pytest.raises(ValueError, match=r"'value': \(3,\)"):
        generalized_advantages(row, row, flags, row[:, 0], row)
    with pytest.raises(ValueError, match=r"'log_prob': \(2,\)"):
        vtrace_targets(row, row, flags, row, row, row[0], row)
    with pytest.raises(ValueError, match=r"`lambda_` in \[0.0, 1.0\]. Received: 1.5"):
        lambda_returns(row, row, flags, row, 1.5)
    with pytest.raises(ValueError, match="`clip_rho`"):
        vtrace_targets(row, row, flags, row, row, row, row, clip_rho=0.0)
    with pytest.raises(ValueError, match="`n`"):
        n_step_returns(row, row, flags, row, 0)
    with pytest.raises(ValueError, match="Did you mean 'bootstrap'"):
        n_step_returns(row, row, flags, row, 2, tail="bootstap")
    with pytest.raises(ValueError, match="static length"):
        tf.function(
            lambda r: discounted_returns(r, r, r > 0.0, r)
        ).get_concrete_function(tf.TensorSpec([None]))


NAMES = {
    "reward": [1.0, 1.0],
    "discount": [0.5, 0.5],
    "ended": [False, False],
    "value": [0.0, 0.0],
    "next_value": [1.0, 1.0],
    "log_prob": [-1.0, -1.0],
    "behaviour_log_prob": [-1.0, -1.0],
}
FUNCTIONS = {
    discounted_returns: {},
    lambda_returns: {"lambda_": 0.5},
    n_step_returns: {"n": 1},
    generalized_advantages: {"lambda_": 0.5},
    vtrace_targets: {"lambda_": 0.5},
}
CALLS = [
    (function, name)
    for function in FUNCTIONS
    for name in NAMES
    if name in inspect.signature(function).parameters
]


def arguments_of(function, **changed):
    known = inspect.signature(function).parameters
    given = {name: value for name, value in NAMES.items() if name in known}
    return {**given, **FUNCTIONS[function], **changed}


@pytest.mark.parametrize(("function", "name"), CALLS)
def test_no_argument_is_broadcast(function, name):
    """Neither one step for two, nor one environment for three, nor a number."""
    for short in ([NAMES[name][0]], NAMES[name][0]):
        with pytest.raises(ValueError, match="one shape"):
            function(**arguments_of(function, **{name: short}))
    wide = {n: np.tile(np.array(x)[:, None], [1, 3]) for n, x in NAMES.items()}
    known = inspect.signature(function).parameters
    wide = {n: x for n, x in wide.items() if n in known}
    wide[name] = wide[name][:, :1]
    with pytest.raises(ValueError, match="one shape"):
        function(**wide, **FUNCTIONS[function])


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (lambda_returns, "lambda_", [0.5, 0.5]),
        (lambda_returns, "lambda_", np.array([0.5, 0.5])),
        (lambda_returns, "lambda_", np.nan),
        (generalized_advantages, "lambda_", np.array([0.5, 0.5])),
        (vtrace_targets, "lambda_", np.array([0.5, 0.5])),
        (vtrace_targets, "clip_rho", np.array([1.0, 1.0])),
        (vtrace_targets, "clip_c", np.nan),
        (vtrace_targets, "clip_rho", "1"),
        (vtrace_targets, "clip_c", 0.0),
    ],
)
def test_numbers_that_are_none(function, name, value):
    with pytest.raises(ValueError, match=f"Expected `{name}`.*Received: "):
        function(**arguments_of(function, **{name: value}))


def test_infinite_clips_do_not_clip():
    """Ratio e: delta = e (1 + 1/2 * 1 - 0) in both steps, c = e in between."""
    ratio = {"log_prob": [0.0, 0.0], "clip_rho": np.inf, "clip_c": np.inf}
    result = vtrace_targets(**arguments_of(vtrace_targets, lambda_=1.0, **ratio))
    delta = 1.5 * np.e
    wanted = [delta + 0.5 * np.e * delta, delta]
    np.testing.assert_allclose(result.targets, wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_dtypes_of_the_values(function, dtype):
    """Computed in float32 at least, whatever dtype the rest has."""
    given = arguments_of(function)
    wanted = tf.nest.flatten(function(**given))
    for name in ("next_value", "value"):
        if name in given:
            given[name] = tf.cast(given[name], dtype)
    for result, expected in zip(
        tf.nest.flatten(function(**given)), wanted, strict=True
    ):
        assert result.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_allclose(result, expected, rtol=1e-6)
