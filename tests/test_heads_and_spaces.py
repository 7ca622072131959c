"""Policy heads and the spaces they are for: `fits`, `random`, `from_env`."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import stats

from kerasrl2.distributions import (
    Beta,
    Categorical,
    DiagonalGaussian,
    PolicyHead,
    SquashedGaussian,
    head_for,
)
from tests.harness import xla_in_long_runs

BOX = spaces.Box(np.float32([-1.0, -2.0, 0.5]), np.float32([1.0, 2.0, 4.0]))
SPACES = {
    "categorical": spaces.Discrete(5, start=2),
    "gaussian": BOX,
    "squashed_gaussian": BOX,
    "beta": BOX,
    "gsde": BOX,
    "multi_categorical": spaces.MultiDiscrete([[3, 2], [4, 2]], start=[[0, 1], [2, 3]]),
    "bernoulli": spaces.MultiBinary([2, 3]),
}
SEED = [3, 4]


@pytest.fixture(params=SPACES)
def kind(request):
    return request.param


@pytest.fixture
def head(kind):
    return head_for(SPACES[kind], kind)


class TestFits:
    def test_the_space_it_was_made_for(self, head, kind):
        assert head.fits(SPACES[kind])
        copy = type(head).from_config(head.get_config())
        assert copy.fits(SPACES[kind])

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Discrete(5),
            spaces.Discrete(4, start=2),
            spaces.MultiBinary(5),
            spaces.MultiBinary([3, 2]),
            spaces.MultiDiscrete([5]),
            spaces.MultiDiscrete([[3, 2], [4, 2]]),
            spaces.MultiDiscrete([3, 2, 4, 2], start=[0, 1, 2, 3]),
            spaces.Dict({"a": BOX}),
            spaces.Box(BOX.low, np.float32([1.0, 2.0, 5.0])),
            spaces.Box(BOX.low - 1, BOX.high),
            spaces.Box(BOX.low[:2], BOX.high[:2]),
            spaces.Box(BOX.low[:, None], BOX.high[:, None]),
            spaces.Box(-np.inf, np.inf, (3,)),
            spaces.Box(-1, 1, (3,), np.int32),
        ],
        ids=str,
    )
    def test_no_other(self, head, space):
        assert not head.fits(space)

    def test_the_other_kind_of_space(self):
        assert not Categorical(3).fits(BOX)
        assert not Beta([0.0], [1.0]).fits(spaces.Discrete(2))

    def test_bounds_and_shapes(self):
        half = spaces.Box(np.float32([0.0, -np.inf]), np.float32([np.inf, np.inf]))
        assert DiagonalGaussian([0.0, None], [None, None]).fits(half)
        assert not DiagonalGaussian([None, None], [None, None]).fits(half)
        assert head_for(spaces.Box(-1.0, 1.0, (2, 2))).fits(
            spaces.Box(-1.0, 1.0, (2, 2), np.float64)
        )
        assert head_for(spaces.Box(-1.0, 1.0, ())).fits(spaces.Box(-1.0, 1.0, ()))


@pytest.mark.parametrize("kind", ["gaussian", "squashed_gaussian", "beta"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
class TestDtypes:
    """-0.1 rounds down in float32: it was no action of a float64 box."""

    def test_actions_are_in_the_space(self, kind, dtype):
        space = spaces.Box(dtype([-0.1, -0.3]), dtype([0.1, 0.7]), dtype=dtype)
        head = head_for(space, kind)
        far = np.array([[99.0, 99.0], [-99.0, -99.0]], np.float32)
        for action in (far, far.astype(np.float64), head.random(50, SEED)):
            env = head.to_env(action).numpy()
            assert env.dtype == dtype
            assert all(space.contains(row) for row in env)
        edges = head.to_env(far).numpy()
        if kind != "beta":  # for which 99 is no action
            np.testing.assert_array_equal(edges, [space.high, space.low])

    def test_back_and_forth(self, kind, dtype):
        space = spaces.Box(dtype([1000.0]), dtype([1002.0]), dtype=dtype)
        head = head_for(space, kind)
        back = head.from_env(np.array([[1001.5]], dtype))
        assert back.dtype == tf.float32
        np.testing.assert_allclose(head.to_env(back), [[1001.5]], rtol=1e-7)

    def test_configuration(self, kind, dtype):
        space = spaces.Box(dtype([-0.1]), dtype([0.1]), dtype=dtype)
        head = head_for(space, kind)
        copy = type(head).from_config(head.get_config())
        assert copy.fits(space)
        assert copy.to_env([[0.0]]).dtype == dtype
        by_hand = type(head)([-0.1], [0.1])  # as it rounds in the space
        assert by_hand.fits(space)
        assert space.contains(by_hand.to_env([[-99.0]]).numpy()[0].astype(dtype))

    def test_parameters_of_half_and_double_precision(self, kind, dtype):
        head = head_for(spaces.Box(-1.0, 1.0, (2,)), kind)
        parameters = tf.constant([[0.5, -0.5, 0.1, 0.2]], dtype)
        expected = np.float64 if dtype == np.float64 else np.float32
        action = head.sample(parameters, SEED)
        for result in (
            action,
            head.mode(parameters),
            head.log_prob(parameters, action),
            head.log_prob(parameters, tf.cast(action, tf.float64)),
            head.entropy(parameters),
            head.kl(parameters, tf.cast(parameters, tf.float64)),
        ):
            assert result.dtype == expected
            assert np.isfinite(result).all()
        assert head.to_env(action).dtype == np.float32


def test_divergences_do_not_broadcast(head):
    parameters = tf.zeros([2, head.num_parameters])
    with pytest.raises(ValueError, match="'other_parameters': \\(1, "):
        head.kl(parameters, parameters[:1])


class TestRandom:
    @xla_in_long_runs
    def test_shape_and_dtype(self, compiled, head):
        action = compiled(lambda seed: head.random(7, seed))(tf.constant(SEED))
        assert tuple(action.shape) == (7, *head.action_shape)
        assert action.dtype == head.action_dtype
        np.testing.assert_allclose(action, head.random(7, SEED), atol=1e-4)
        assert np.any(action != head.random(7, [3, 5]))

    def test_uniform_over_the_space(self, compiled, head, kind):
        draw = compiled(lambda: head.to_env(head.random(20_000, tf.constant(SEED))))
        action = draw().numpy()
        if kind == "categorical":
            counts = np.bincount(action)
            assert counts[:2].tolist() == [0, 0]
            assert stats.chisquare(counts[2:]).pvalue > 0.01
            return
        if kind in ("multi_categorical", "bernoulli"):
            assert all(SPACES[kind].contains(row) for row in action[:1000])
            for column in action.reshape(len(action), -1).T:
                counts = np.unique(column, return_counts=True)[1]
                assert stats.chisquare(counts).pvalue > 0.001
            return
        assert all(BOX.contains(row) for row in action[:1000])
        for column, low, high in zip(action.T, BOX.low, BOX.high, strict=True):
            uniform = stats.uniform(low, high - low)
            assert stats.kstest(column, uniform.cdf).pvalue > 0.01
        correlation = np.corrcoef(action.T)[~np.eye(3, dtype=bool)]
        assert np.abs(correlation).max() < 0.03

    def test_can_be_scored(self, head):
        """Also the draws nearest to the edges."""
        action = head.random(100_000, SEED)
        parameters = tf.zeros([100_000, head.num_parameters])
        assert np.isfinite(head.log_prob(parameters, action)).all()

    def test_every_action_of_many(self):
        drawn = Categorical(100).random(20_000, SEED)
        assert stats.chisquare(np.bincount(drawn, minlength=100)).pvalue > 0.01

    def test_categorical_is_a_sample_of_equal_logits(self):
        head = Categorical(3)
        expected = head.sample(tf.zeros([50, 3]), SEED)
        np.testing.assert_array_equal(head.random(50, SEED), expected)

    def test_unbounded_dimensions(self, compiled):
        head = DiagonalGaussian([None, 100.0, None, -1.0], [None, None, -7.0, 3.0])
        draw = compiled(lambda: head.random(20_000, tf.constant(SEED)))()
        env = head.to_env(draw).numpy().T
        for column, distribution in zip(
            env,
            [
                stats.norm(),
                stats.expon(100.0),
                stats.uniform(),  # of minus a standard exponential, see below
                stats.uniform(-1.0, 4.0),
            ],
            strict=True,
        ):
            column = np.exp(column + 7.0) if column.max() < -6.9 else column
            assert stats.kstest(column, distribution.cdf).pvalue > 0.01


class TestFromEnv:
    @pytest.mark.parametrize(
        ("head", "action", "expected"),
        [
            (Categorical(3, start=-1), [-1, 1], [0, 2]),
            (Categorical(3, start=5), np.int64(6), 1),
            (DiagonalGaussian([-1.0], [3.0]), [[1.0], [2.0], [-1.0]],
             [[0.0], [0.5], [-1.0]]),
            (DiagonalGaussian([-1.0], [3.0]), [[5.0]], [[2.0]]),  # not clipped
            (DiagonalGaussian([None, 0.0], [None, None]), [[9.0, 4.0]], [[9.0, 4.0]]),
            (SquashedGaussian([-1.0], [3.0]), [[1.0], [2.0]], [[0.0], [0.549306]]),
            (SquashedGaussian([-1.0], [3.0]), [[3.0], [9.0], [-1.0]],
             [[8.664340], [8.664340], [-8.664340]]),
            (Beta([-1.0], [3.0]), [[0.0], [3.0], [-4.0]],
             [[0.25], [1.0 - 2.0**-24], [2.0**-24]]),
            (Beta([0.0] * 4, [1.0] * 4, (2, 2)), [[[0.1, 0.2], [0.3, 0.4]]],
             [[0.1, 0.2, 0.3, 0.4]]),
            (DiagonalGaussian([0.0], [4.0], ()), [1.0, 2.0], [[-0.5], [0.0]]),
        ],
    )  # fmt: skip
    def test_by_hand(self, compiled, head, action, expected):
        result = compiled(head.from_env)(tf.constant(action))
        np.testing.assert_allclose(result, expected, atol=1e-6)
        assert result.dtype == head.action_dtype

    def test_what_a_space_samples_comes_back(self, compiled, head, kind):
        space = SPACES[kind]
        space.seed(0)
        action = np.stack([space.sample() for _ in range(500)])
        back = compiled(lambda x: head.to_env(head.from_env(x)))(tf.constant(action))
        np.testing.assert_allclose(back, action, atol=1e-6)

    def test_undoes_to_env(self, head):
        action = head.random(500, SEED)
        far = np.abs(action) > 3 if isinstance(head, SquashedGaussian) else None
        back = head.from_env(head.to_env(action)).numpy()
        if far is not None:
            assert np.mean(far) < 0.02
            back[far] = action.numpy()[far]
        np.testing.assert_allclose(back, action, atol=1e-4)

    def test_edges_have_a_density(self):
        for head in (head_for(BOX, kind) for kind in ("squashed_gaussian", "beta")):
            edges = head.from_env(np.stack([BOX.low, BOX.high]))
            parameters = tf.zeros([2, head.num_parameters])
            assert np.isfinite(head.log_prob(parameters, edges)).all()
            np.testing.assert_allclose(
                head.to_env(edges), [BOX.low, BOX.high], atol=1e-6
            )

    def test_float64_is_rounded_last(self):
        head = DiagonalGaussian([1e6], [1e6 + 2.0])
        action = np.float64([[1e6 + 0.123456]])
        np.testing.assert_allclose(head.from_env(action), [[-0.876544]], atol=1e-6)

    @pytest.mark.parametrize("shape", [[5], [5, 2], [3, 5]])
    def test_wrong_shapes(self, shape):
        head = Beta(BOX.low, BOX.high)
        with pytest.raises(ValueError, match=r"shape \[\.\.\., 3\]. Received: \("):
            head.from_env(tf.zeros(shape))


def test_a_head_of_ones_own_must_say():
    for call in (
        lambda head: head.fits(BOX),
        lambda head: head.random(3, SEED),
        lambda head: head.from_env([0]),
    ):
        with pytest.raises(NotImplementedError):
            call(PolicyHead())


def test_environments_are_asked_of_the_head():
    """A head of one's own fits what it says."""
    import kerasrl2 as krl

    class Anything(Categorical):
        def fits(self, space):
            return space.n <= self.num_actions

    network = krl.layers.actor_critic((4,), 3, hidden=())
    agent = krl.agents.A2C(network, Anything(3))
    assert agent.environment("CartPole-v1", 1).action_space == spaces.Discrete(2)
    agent = krl.agents.A2C(network, Categorical(3))
    with pytest.raises(ValueError, match="Expected an environment with the actions"):
        agent.environment(gymnasium.make("CartPole-v1"), 1)


def test_spaces_without_a_choice_are_refused():
    empty = spaces.Discrete(2)
    empty.n = 0
    fixed = spaces.Box(np.float32([-1.0, 2.0]), np.float32([1.0, 2.0]))
    for space, message in [
        (empty, "at least one action.*n=0"),
        (fixed, r"low < high.*2\.0 and 2\.0 in dimension 1.*TransformAction"),
        (spaces.Box(-1.0, 1.0, (0,)), "at least one dimension"),
    ]:
        with pytest.raises(ValueError, match=message):
            head_for(space)
