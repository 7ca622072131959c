"""Tests of `kerasrl2.distributions`."""

import json

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from kerasrl2.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    SquashedGaussian,
    StateDependentGaussian,
    head_for,
)
from kerasrl2.distributions.sampling import gamma, normal, uniform
from kerasrl2.losses import policy_gradient_loss
from tests.harness import compiled_in_long_runs, xla_in_long_runs

BOX = {"low": [-1.0, -2.0, 0.0], "high": [1.0, 2.0, 4.0]}
HEADS = [
    Categorical(5, start=2),
    DiagonalGaussian([-1.0, None, 0.0], [1.0, None, 4.0]),
    SquashedGaussian(**BOX),
    Beta(**BOX),
    MultiCategorical([3, 1, 4], starts=[0, 5, -1]),
    Bernoulli(3),
    StateDependentGaussian([-1.0, None, 0.0], [1.0, None, 4.0], num_features=5),
]


@pytest.fixture(params=HEADS, ids=lambda head: type(head).__name__)
def head(request):
    return request.param


def random_parameters(head, rows=64, seed=0, dtype="f4"):
    shape = [rows, head.num_parameters]
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def test_golden(compiled, golden):
    file = golden("distributions")
    x = {name: np.array(value) for name, value in file["inputs"].items()}
    gaussian = DiagonalGaussian([-1.0] * 3, [1.0] * 3)
    squashed, beta = SquashedGaussian(**BOX), Beta(**BOX)

    def inverse_softplus(y):
        return np.log(np.expm1(y))

    def everything(p, other, u, raw, action):
        return {
            "diag_gaussian_log_prob": gaussian.log_prob(p, u),
            "tanh_gaussian_log_prob_of_tanh_of_pre_tanh": squashed.log_prob(p, u),
            "diag_gaussian_entropy": gaussian.entropy(p),
            "kl_1_2": gaussian.kl(p, other),
            "beta_log_prob": beta.log_prob(raw, action),
        }

    result = compiled(everything)(
        tf.constant(np.hstack([x["mean"], x["log_std"]])),
        tf.constant(np.hstack([x["mean2"], x["log_std2"]])),
        tf.constant(x["pre_tanh"]),
        tf.constant(inverse_softplus(np.hstack([x["beta_a"], x["beta_b"]]) - 1.0)),
        tf.constant(x["beta_x"]),
    )
    for name, tensor in result.items():
        np.testing.assert_allclose(tensor, file["outputs"][name], rtol=1e-9)
    assert result.keys() == file["outputs"].keys()
    p, other = (
        np.hstack([x["mean"], x["log_std"]]),
        np.hstack([x["mean2"], x["log_std2"]]),
    )
    np.testing.assert_array_equal(squashed.kl(p, other), gaussian.kl(p, other))


def test_equals_tensorflow_probability(head):
    p = random_parameters(head, dtype="f8")
    other = random_parameters(head, seed=1, dtype="f8")
    ours, theirs = head.distribution(p), head.distribution(other)
    action = head.sample(p, [0, 1])
    squashed = isinstance(head, SquashedGaussian)
    expected = ours.log_prob(tf.tanh(action) if squashed else action)
    np.testing.assert_allclose(head.log_prob(p, action), expected, rtol=1e-5, atol=1e-8)
    assert tuple(ours.batch_shape) == (64,)
    if squashed:  # TFP has no closed form for the entropy
        ours, theirs = ours.distribution, theirs.distribution
    else:
        np.testing.assert_allclose(head.entropy(p), ours.entropy(), rtol=1e-9)
        np.testing.assert_allclose(head.mode(p), ours.mode(), rtol=1e-5)
    expected = ours.kl_divergence(theirs)
    np.testing.assert_allclose(head.kl(p, other), expected, rtol=1e-9)
    np.testing.assert_allclose(head.kl(p, p), np.zeros(64), atol=1e-12)


def test_categorical_by_hand(compiled):
    head = Categorical(2)
    logits = tf.math.log(tf.constant([[0.75, 0.25]]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        entropy = compiled(head.entropy)(logits)
        log_prob = compiled(head.log_prob)(logits, tf.constant([1]))
    np.testing.assert_allclose(entropy, [0.562335], atol=1e-6)
    slope = tape.gradient(entropy, logits)
    np.testing.assert_allclose(slope, [[-0.205990, 0.205990]], atol=1e-6)
    np.testing.assert_allclose(log_prob, [np.log(0.25)], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(log_prob, logits), [[-0.75, 0.75]])


@pytest.mark.parametrize(("gap", "slope"), [(10.0, 0.999955), (20.0, 1.0)])
def test_gradient_of_an_unlikely_action_does_not_vanish(gap, slope):
    logits = tf.constant([[gap, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Categorical(2).log_prob(logits, [1])
    np.testing.assert_allclose(tape.gradient(log_prob, logits)[0, 1], slope, atol=1e-5)


@xla_in_long_runs
def test_excluded_actions(compiled):
    """Logits of -inf: never drawn, and nothing becomes NaN."""
    head = Categorical(4)
    row = [[-np.inf, 0.0, -np.inf, 0.0]]
    logits, other = tf.constant(np.float32(row)), tf.zeros([1, 4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        entropy = compiled(head.entropy)(logits)
        kl = compiled(head.kl)(logits, other)
        log_prob = compiled(head.log_prob)(logits, tf.constant([1]))
    np.testing.assert_allclose([entropy[0], kl[0]], [np.log(2)] * 2, rtol=1e-6)
    assert np.isinf(head.kl(other, logits)[0])
    for y in (entropy, kl, log_prob):
        assert np.isfinite(tape.gradient(y, logits)).all()
    many = tf.repeat(logits, 100_000, axis=0)
    drawn = compiled(lambda x: head.sample(x, tf.constant([0, 7])))(many)
    assert set(np.unique(drawn)) == {1, 3}


def test_no_excluded_action_is_drawn_among_many():
    """Rounding in long sums lends no probability to an excluded action."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50_000, 40)).astype("f4")
    excluded = rng.random((50_000, 40)) < 0.7
    excluded[:, 20] = False
    logits[excluded] = -np.inf
    sample = tf.function(Categorical(40).sample, jit_compile=True)
    for seed in range(5):
        drawn = sample(tf.constant(logits), tf.constant([0, seed])).numpy()
        assert not np.take_along_axis(excluded, drawn[:, None], 1).any()


def test_an_action_out_of_range_is_nan(compiled):
    log_prob = compiled(Categorical(3).log_prob)(
        tf.zeros([3, 3]), tf.constant([-1, 3, 0])
    )
    np.testing.assert_array_equal(np.isnan(log_prob), [True, True, False])


class TestSeveral:
    def test_are_the_sums_of_their_parts(self, compiled):
        """Rows 10 and 11 of the worked values: three equal components."""
        head = MultiCategorical([2, 2, 2])
        logits = tf.constant([[0.0, 1], [0, 2], [1, 1], [0, -1000]])
        entropy = compiled(head.entropy)(tf.tile(logits, [1, 3]))
        expected = [0.582203, 0.365334, 0.693147, 0.0]
        np.testing.assert_allclose(entropy, 3 * np.float32(expected), atol=1e-5)
        logits = tf.constant([[0.0, 1], [0, 1], [1, 1], [0, 100]])
        action = tf.tile(tf.constant([[0], [0], [1], [1]]), [1, 3])
        log_prob = compiled(head.log_prob)(tf.tile(logits, [1, 3]), action)
        loss = policy_gradient_loss(log_prob, tf.constant([0.0, 1, 2, 1]))
        expected = [0.0, 1.313262, 1.386294, 0.0]
        np.testing.assert_allclose(loss, 3 * np.float32(expected), atol=1e-5)

    def test_sizes_may_differ(self, compiled):
        head = MultiCategorical([1, 3])
        parameters = tf.math.log(tf.constant([[0.2, 0.25, 0.25, 0.5]]))
        log_prob = compiled(head.log_prob)
        assert float(log_prob(parameters, [[0, 2]])[0]) == pytest.approx(np.log(0.5))
        for action in ([0, 3], [1, 0], [-1, 0]):
            assert np.isnan(log_prob(parameters, [action])[0])
        many = compiled(head.sample)(tf.repeat(parameters, 40_000, 0), [3, 4]).numpy()
        shares = np.bincount(many[:, 1]) / len(many)
        np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.01)
        assert not many[:, 0].any()

    def test_padding_gives_no_gradient_of_nan(self, compiled):
        head = MultiCategorical([1, 3])
        p, other = tf.constant([[0.3, 1.0, 2.0, 3.0]]), tf.zeros([1, 4])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(p)
            values = [
                compiled(head.entropy)(p),
                compiled(head.kl)(p, other),
                compiled(head.kl)(other, p),
                compiled(head.log_prob)(p, [[0, 1]]),
            ]
        for value in values:
            gradient = tape.gradient(value, p)
            assert np.isfinite(gradient).all()
            assert gradient[0, 0] == 0.0

    def test_switches(self, compiled):
        head = Bernoulli(2)
        kl = compiled(head.kl)(tf.constant([[0.3, 1.0]]), tf.constant([[0.65, 1.0]]))
        np.testing.assert_allclose(kl, [0.0146452], rtol=1e-5)  # row 12
        assert np.isnan(compiled(head.log_prob)(tf.zeros([1, 2]), [[2, 0]])[0])
        stuck = tf.constant([[np.inf, -np.inf]])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(stuck)
            entropy = compiled(head.entropy)(stuck)
            log_prob = compiled(head.log_prob)(stuck, [[1, 0]])
        assert (float(entropy[0]), float(log_prob[0])) == (0.0, 0.0)
        assert np.isfinite(tape.gradient(entropy, stuck)).all()
        drawn = compiled(head.sample)(tf.repeat(stuck, 1000, 0), [1, 2])
        assert np.unique(drawn, axis=0).tolist() == [[1, 0]]

    def test_bad_arguments(self):
        for make, message in [
            (lambda: MultiCategorical([]), "at least one"),
            (lambda: MultiCategorical([2, 0]), "sizes"),
            (lambda: MultiCategorical([2, 2], starts=[1]), "`starts` of 2"),
            (lambda: Bernoulli(4, (3,)), "`shape` of 4"),
            (lambda: Bernoulli(0), "size"),
        ]:
            with pytest.raises(ValueError, match=message):
                make()
        with pytest.raises(ValueError, match=r"shape \[\.\.\., 2, 2\]"):
            Bernoulli(4, (2, 2)).from_env(tf.zeros([3, 4]))


def test_gaussian_by_hand():
    head = DiagonalGaussian([-1.0], [3.0])
    parameters = tf.constant([[0.0, np.log(2.0)]])
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        log_prob = head.log_prob(parameters, [[1.0]])
    np.testing.assert_allclose(log_prob, [-1.737086], atol=1e-6)
    # d / d mean = 0.25; d / d log std = std * (-0.375) = -0.75
    np.testing.assert_allclose(tape.gradient(log_prob, parameters), [[0.25, -0.75]])
    np.testing.assert_allclose(head.entropy(parameters), [2.112086], atol=1e-6)
    np.testing.assert_allclose(head.entropy([[0.0, 0.0]]), [1.418939], atol=1e-6)
    np.testing.assert_allclose(
        head.log_prob([[0.0, 0.0]], [[0.0]]), [-0.918939], atol=1e-6
    )


@pytest.mark.parametrize(
    ("cls", "high"), [(DiagonalGaussian, 5.0), (SquashedGaussian, 2.0)]
)
def test_log_std_is_clipped(cls, high):
    head = cls([-1.0], [1.0])
    for raw, used in [(99.0, high), (-99.0, -20.0)]:
        expected = head.log_prob([[0.5, used]], [[0.5]])
        np.testing.assert_array_equal(head.log_prob([[0.5, raw]], [[0.5]]), expected)


def test_squashed_density_is_finite(compiled):
    head = SquashedGaussian([-1.0], [1.0])
    u = tf.constant([[-300.0], [-15.0], [0.0], [40.0], [300.0]])
    p = tf.zeros([5, 2])
    with tf.GradientTape() as tape:
        tape.watch(u)
        log_prob = compiled(head.log_prob)(p, u)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, u)).all()


def test_squashed_density_sums_to_one():
    head = SquashedGaussian([-1.0], [1.0])

    def density(y):
        return float(tf.exp(head.log_prob([[0.3, -0.5]], [[np.arctanh(y)]]))[0])

    assert abs(integrate.quad(density, -0.9999, 0.9999)[0] - 1.0) < 1e-4


@pytest.mark.parametrize(
    ("log_std", "tolerance"), [(-3, 1e-7), (0, 1e-6), (1, 2e-3), (2, 0.08)]
)
@pytest.mark.parametrize("mean", [0.0, 1.0, -5.0])
def test_squashed_entropy_by_integration(mean, log_std, tolerance):
    def integrand(u):
        z = (u - mean) / np.exp(log_std)
        log_p = stats.norm.logpdf(z) - log_std
        slope = 2.0 * (np.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))
        return -np.exp(log_p) * (log_p - slope)

    width = 12.0 * np.exp(log_std)
    edges = (mean - width, mean + width)
    exact = integrate.quad(integrand, *edges, points=[0.0, mean], limit=500)[0]
    head = SquashedGaussian([-1.0] * 2, [1.0] * 2)
    parameters = tf.constant([[mean, mean, log_std, log_std]], tf.float64)
    np.testing.assert_allclose(
        head.entropy(parameters), [2 * exact], atol=2 * tolerance
    )


def test_samples_are_the_same_in_every_mode(compiled, head):
    parameters = random_parameters(head)
    seed = tf.constant([5, -7])
    action = compiled(head.sample)(parameters, seed)
    assert action.dtype == head.action_dtype
    assert tuple(action.shape) == (64, *head.action_shape)
    np.testing.assert_allclose(action, head.sample(parameters, seed), atol=1e-4)
    assert not np.allclose(action, head.sample(parameters, tf.constant([5, -8])))


def test_samples_of_an_unknown_number_of_rows(head):
    parameters, seed = random_parameters(head), tf.constant([5, -7])
    dynamic = tf.function(head.sample).get_concrete_function(
        tf.TensorSpec([None, head.num_parameters]), tf.TensorSpec([2], tf.int32)
    )
    action = head.sample(parameters, seed)
    np.testing.assert_allclose(dynamic(parameters, seed), action, atol=1e-4)


def test_sampled_log_prob_is_minus_the_entropy(head):
    """And the mean log-ratio is the KL divergence: sample, density, entropy agree."""
    p = tf.repeat(random_parameters(head, 3), 100_000, axis=0)
    other = tf.repeat(random_parameters(head, 3, seed=1), 100_000, axis=0)
    action = head.sample(p, [1, 2])
    log_p, log_q = head.log_prob(p, action), head.log_prob(other, action)

    def check(terms, expected):
        terms = np.reshape(terms, [3, -1])
        error = 5.0 * terms.std(axis=1) / np.sqrt(terms.shape[1]) + 1e-3
        assert np.all(np.abs(terms.mean(axis=1) - expected[::100_000]) < error)

    check(-log_p, head.entropy(p))
    check(log_p - log_q, head.kl(p, other))


@compiled_in_long_runs
def test_draws_against_scipy(compiled):
    seed = tf.constant([0, 3])
    draw = compiled(lambda: uniform([50_000], seed, tf.float32))()
    assert np.min(draw) > 0.0
    assert np.max(draw) < 1.0
    assert stats.kstest(draw, "uniform").pvalue > 0.01
    assert (
        stats.kstest(compiled(normal)([50_000], seed, tf.float64), "norm").pvalue > 0.01
    )
    concentration = tf.repeat(tf.constant([1.0, 1.5, 30.0]), 20_000)
    draws = np.reshape(compiled(gamma)(concentration, seed), [3, -1])
    for a, row in zip([1.0, 1.5, 30.0], draws, strict=True):
        assert stats.kstest(row, "gamma", args=(a,)).pvalue > 0.01
    head = Beta([0.0], [1.0])
    raw = tf.repeat(tf.constant([[0.0, 2.0]]), 20_000, axis=0)
    a, b = 1.0 + np.log1p(np.exp([0.0, 2.0]))
    x = compiled(head.sample)(raw, seed)[:, 0]
    assert stats.kstest(x, "beta", args=(a, b)).pvalue > 0.01


def test_categorical_frequencies(compiled):
    p = np.array([0.1, 0.2, 0.65, 0.05])
    logits = tf.repeat(tf.math.log(tf.constant(p[None], tf.float32)), 100_000, axis=0)
    drawn = compiled(Categorical(4).sample)(logits, tf.constant([9, 9]))
    assert stats.chisquare(np.bincount(drawn), p * 100_000).pvalue > 0.01


def test_gaussian_samples_are_reparameterised():
    head = DiagonalGaussian([-1.0], [1.0])
    parameters = tf.constant([[0.5, 0.3]])
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        action = head.sample(parameters, [0, 1])
    # d action / d mean = 1, d action / d log std = action - mean
    slope = tape.gradient(action, parameters)
    np.testing.assert_allclose(slope, [[1.0, float(action[0, 0]) - 0.5]], rtol=1e-5)


@pytest.mark.parametrize("raw", [[30.0, 30.0], [-30.0, -30.0], [60.0, -60.0]])
def test_beta_is_finite_at_extremes(raw):
    head = Beta([0.0], [1.0])
    parameters = tf.constant([raw])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(parameters)
        action = head.sample(parameters, [0, 1])
        outputs = [head.log_prob(parameters, action), head.entropy(parameters)]
    assert 0.0 < float(action[0, 0]) < 1.0
    assert 0.0 < float(head.mode(parameters)[0, 0]) < 1.0
    for y in outputs:
        assert np.isfinite(y).all()
        assert np.isfinite(tape.gradient(y, parameters)).all()


@pytest.mark.parametrize(
    ("head", "action", "expected"),
    [
        (Categorical(3, start=-1), [0, 2], [-1, 1]),
        (DiagonalGaussian([-1.0], [3.0]), [[0.0], [0.5], [-7.0]], [[1], [2], [-1]]),
        # unbounded: unchanged; bounded on one side: clipped there only
        (DiagonalGaussian([None, 0.0], [None, np.inf]), [[9.0, -9.0]], [[9.0, 0.0]]),
        (SquashedGaussian([-1.0], [3.0]), [[-50.0], [0.549306]], [[-1], [2]]),
        (MultiCategorical([2, 3, 1, 2], [0, -1, 5, 0], (2, 2)), [[1, 2, 0, 1]],
         [[[1, 1], [5, 1]]]),
        (Bernoulli(4, (2, 2)), [[0, 1, 1, 0]], [[[0, 1], [1, 0]]]),
        (Beta([-1.0], [3.0]), [[0.0], [0.25], [1.0]], [[-1.0], [0.0], [3.0]]),
        (Beta([0.0] * 4, [1.0] * 4, (2, 2)), [[0.1, 0.2, 0.3, 0.4]],
         [[[0.1, 0.2], [0.3, 0.4]]]),
    ],
)  # fmt: skip
def test_to_env(compiled, head, action, expected):
    result = compiled(head.to_env)(tf.constant(action))
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == head.action_dtype


def test_to_env_stays_inside_the_space():
    space = gymnasium.spaces.Box(np.float32([-0.4, 0.1]), np.float32([0.7, 0.3]))
    for kind in ("gaussian", "squashed_gaussian", "beta"):
        head = head_for(space, kind)
        action = head.sample(10.0 * random_parameters(head, 1000), [0, 1])
        for row in head.to_env(action).numpy():
            assert space.contains(row)


def test_config_round_trip(head):
    serialized = keras.saving.serialize_keras_object(head)
    json.dumps(serialized, allow_nan=False)
    copy = keras.saving.deserialize_keras_object(serialized)
    assert type(copy) is type(head)
    assert copy.get_config() == head.get_config()
    p = random_parameters(head)
    action = head.sample(p, [0, 1])
    np.testing.assert_array_equal(copy.sample(p, [0, 1]), action)
    np.testing.assert_array_equal(copy.to_env(action), head.to_env(action))


def test_half_precision_is_computed_in_float32(head):
    p = tf.cast(random_parameters(head), tf.float16)
    action = head.sample(p, [0, 1])
    assert head.log_prob(p, action).dtype == tf.float32


def test_head_for():
    spaces = gymnasium.spaces
    head = head_for(spaces.Discrete(3, start=2))
    assert head.get_config() == {"num_actions": 3, "start": 2}
    box = spaces.Box(-2.0, 2.0, (2, 3))
    for kind, cls in [
        ("auto", DiagonalGaussian),
        ("gaussian", DiagonalGaussian),
        ("squashed_gaussian", SquashedGaussian),
        ("beta", Beta),
    ]:
        head = head_for(box, kind)
        assert type(head) is cls
        assert (head.num_parameters, head.action_shape) == (12, (6,))
        assert head.to_env(tf.zeros([5, 6])).shape == (5, 2, 3)
    unbounded = spaces.Box(-np.inf, np.inf, (2,))
    assert head_for(unbounded).get_config()["low"] == [None, None]


@pytest.mark.parametrize(
    ("space", "kind", "message"),
    [
        (gymnasium.spaces.MultiBinary(3), "beta", "'auto', 'bernoulli'"),
        (gymnasium.spaces.MultiDiscrete([2, 2]), "categorical", "'multi_categorical'"),
        (gymnasium.spaces.Dict({}), "auto", "Received: Dict"),
        (gymnasium.spaces.Text(3), "auto", "MultiBinary or floating-point Box"),
        (gymnasium.spaces.Box(0, 9, (2,), np.int64), "auto", "floating-point Box"),
        (
            gymnasium.spaces.Discrete(2),
            "beta",
            "'categorical'. Received: 'beta'",
        ),
        (gymnasium.spaces.Box(-1.0, 1.0), "categorical", "'gaussian', 'squashed"),
        (gymnasium.spaces.Discrete(2), "gausian", "Did you mean 'gaussian'"),
        (gymnasium.spaces.Box(-np.inf, 1.0), "beta", "finite bounds for Beta"),
        (gymnasium.spaces.Box(-np.inf, 1.0), "squashed_gaussian", "finite bounds"),
    ],
)
def test_unsuitable_spaces(space, kind, message):
    with pytest.raises(ValueError, match=message):
        head_for(space, kind)


def test_bad_input(head):
    p = random_parameters(head, 4)
    with pytest.raises(ValueError, match=rf"{head.num_parameters} .*Received: network"):
        head.sample(p[:, :-1], [0, 1])
    with pytest.raises(ValueError, match="Expected actions of shape"):
        head.log_prob(p, tf.zeros([3, *head.action_shape], head.action_dtype))
    with pytest.raises(ValueError, match="Expected actions of shape"):
        head.log_prob(p, tf.zeros([4, 1], head.action_dtype))


def test_bad_bounds():
    for low, high in [([0.0], [0.0]), ([1.0], [0.0]), ([0.0], [1.0, 2.0]), ([], [])]:
        with pytest.raises(ValueError, match="each low < high"):
            DiagonalGaussian(low, high)
    with pytest.raises(ValueError, match="`shape` of 1 elements"):
        DiagonalGaussian([0.0], [1.0], shape=(2,))
    with pytest.raises(ValueError, match="of 1 dimensions"):
        DiagonalGaussian([0.0], [1.0]).to_env([[1.0, 2.0]])
    with pytest.raises(ValueError, match="num_actions"):
        Categorical(0)
