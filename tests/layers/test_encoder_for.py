"""Networks made for a space use what it says: bounds, axes, `start`, dtype."""

import keras
import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2._private import layers_of
from kerasrl2.layers import actor_critic, encoder_for, impala_cnn, q_network
from kerasrl2.layers.pictures import layout_of
from kerasrl2.layers.specs import ObservationSpec

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
U1, F4 = np.uint8, np.float32
NATURE, SMALL, GRID = [(8, 8), (4, 4), (3, 3)], [(4, 4), (3, 3), (3, 3)], [(3, 3)]


def box(low, high, *shape, dtype=F4):
    return spaces.Box(low, high, shape, dtype)


def kernels(model):
    """Sizes of the kernels of convolutions, from the largest."""
    found = [x for x in layers_of(model) if isinstance(x, keras.layers.Conv2D)]
    return sorted((layer.kernel_size for layer in found), reverse=True)


def picture(*shape):
    return np.random.default_rng(0).integers(256, size=shape).astype(U1)


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        (box(0, 255, 84, 84, 4, dtype=U1), NATURE),
        (box(0, 1, 36, 40, 3), NATURE),
        (box(0, 255, 4, 84, 84, dtype=U1), NATURE),
        (box(0, 255, 1, 36, 48), NATURE),
        (box(0, 255, 84, 84, dtype=U1), NATURE),
        (box(0, 255, 4, 36, 36, 3, dtype=U1), NATURE),
        (box(0, 255, 4, 3, 36, 36, dtype=U1), NATURE),
        (box(-np.inf, np.inf, 40, 40, 2), NATURE),
        (box(0, 255, 32, 32, 3, dtype=U1), SMALL),
        (box(0, 255, 3, 32, 32, dtype=U1), SMALL),
        (box(0, 1, 16, 20, 3), SMALL),
        (box(0, 255, 36, 35, 2, dtype=U1), SMALL),
        (box(0, 1, 19, 19, 17, dtype=U1), GRID),
        (box(0, 1, 17, 19, 19, dtype=U1), GRID),
        (box(0, 1, 8, 8, 111, dtype=np.int64), GRID),
        (box(0, 1, 10, 10, 4, dtype=bool), GRID),
        (box(0, 255, 7, 7, 3, dtype=U1), GRID),
        (box(0, 255, 3, 7, 7, dtype=U1), GRID),
        (box(0, 255, 3, 4, 3, dtype=U1), []),
        (box(0, 255, 128, dtype=U1), []),
        (box(-1, 1, 50, 40), []),
        (box(-1, 1), []),
        (box(0, 9, 2, 3, 4, 5), []),
        (spaces.Discrete(5), []),
    ],
    ids=str,
)
def test_the_encoder_follows_from_shape_and_bounds(space, sizes):
    model = encoder_for(space, hidden=(4,))
    assert kernels(model) == sizes
    assert model.output_shape == (None, 4)
    assert model.count_params() < 400_000
    assert np.isfinite(model(np.array([space.sample()]))).all()


BYTES = picture(2, 36, 36, 3)


@pytest.mark.parametrize("shape", [(36, 36, 3), (32, 32, 3), (7, 7, 3), (3, 4, 3)])
@pytest.mark.parametrize("encoder", ["auto", "mlp"])
def test_one_picture_gives_one_output_however_it_is_stored(shape, encoder):
    """0 to 255 in uint8 and float32, 0 to 1, -5 to 5, channels first or last."""
    pixels = picture(2, *shape)
    space = box(0, 255, *shape, dtype=U1)
    model = encoder_for(space, (4,), "linear", encoder)
    expected = model(pixels).numpy()
    assert np.ptp(expected) > 0.1
    assert np.abs(expected).max() < 20.0  # no raw pixels
    moved = (2, 0, 1) if shape[2] < shape[0] and encoder == "auto" else (0, 1, 2)
    for low, high, dtype in [
        (0, 255, U1), (0, 255, F4), (0.0, 1.0, F4), (-5.0, 5.0, F4), (10, 265, "i4"),
    ]:  # fmt: skip
        values = low + pixels / 255.0 * (high - low)
        values = values.round() if np.dtype(dtype).kind != "f" else values
        for order in {(0, 1, 2), moved}:
            stored = np.transpose(values, [0, *(1 + axis for axis in order)])
            same = box(low, high, *stored.shape[1:], dtype=dtype)
            other = encoder_for(same, (4,), "linear", encoder)
            other.set_weights(model.get_weights())
            np.testing.assert_allclose(
                other(stored.astype(dtype)), expected, rtol=1e-3, atol=1e-3
            )


def test_frames_in_front_become_channels():
    frames = picture(2, 4, 36, 36, 3)
    stacked = np.concatenate(list(np.moveaxis(frames, 1, 0)), axis=-1)
    one = encoder_for(box(0, 255, 4, 36, 36, 3, dtype=U1), (4,))
    other = encoder_for(box(0, 255, 36, 36, 12, dtype=U1), (4,))
    other.set_weights(one.get_weights())
    np.testing.assert_allclose(one(frames), other(stacked), rtol=1e-4, atol=1e-5)
    first = encoder_for(box(0, 255, 4, 3, 36, 36, dtype=U1), (4,))
    first.set_weights(one.get_weights())
    moved = np.moveaxis(frames, -1, 2)
    np.testing.assert_allclose(first(moved), one(frames), rtol=1e-4, atol=1e-5)


def test_each_discrete_observation_has_a_row_of_its_own():
    for start in (0, 3, -2, 2**25 + 1):
        space = spaces.Discrete(4, start=start)
        names = start + np.arange(4)
        rows = encoder_for(space, hidden=())(names)
        np.testing.assert_array_equal(rows, np.eye(4))
        q = q_network(space, 2, hidden=())
        kernel = next(w for w in q.weights if w.name == "kernel")
        np.testing.assert_allclose(q(names), kernel)
        policy, _ = actor_critic(space, 2, hidden=())(names)
        assert len(np.unique(policy[:, 0])) == 4


@pytest.mark.parametrize(
    ("space", "value", "features"),
    [
        (box(0, 255, 2, dtype=U1), [51, 255], [0.2, 1.0]),
        (box(-10, 30, 2, dtype=np.int64), [-10, 10], [0.0, 0.5]),
        (spaces.Box(np.array([0, 5]), np.array([10, 5]), dtype=int), [5, 5], [0.5, 0]),
        (box(0, 1, 2, dtype=np.int8), [0, 1], [0.0, 1.0]),
        (box(-1, 1, 2, dtype=np.int8), [-1, 1], [-1.0, 1.0]),
        (box(-100.0, 100.0, 2), [50.0, 7.0], [50.0, 7.0]),  # floats of few axes
        (box(np.iinfo("i4").min, np.iinfo("i4").max, 2, dtype="i4"), [3, 4], [3, 4]),
        (box(1_700_000_000, 1_700_000_010, 1, dtype=int), [1_700_000_001], [0.1]),
        (box(-1.0, 1.0), 0.25, [0.25]),
        (box(0, 10, dtype=int), 5, [0.5]),
    ],
    ids=str,
)
def test_numbers_are_scaled_by_their_bounds(space, value, features):
    model = encoder_for(space, hidden=())
    np.testing.assert_allclose(model(np.array([value]))[0], features, rtol=1e-6)


def test_networks_of_spaces_are_saved_and_loaded(tmp_path):
    for space in (
        box(0, 255, 3, 32, 32, dtype=U1),
        box(0.0, 10.0, 7, 7, 3),
        spaces.Discrete(4, start=3),
        spaces.Box(np.array([0, 5]), np.array([10, 5]), dtype=int),
    ):
        space.seed(0)
        model = q_network(space, 2, hidden=(4,))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        x = np.array([space.sample() for _ in range(3)])
        np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("shape", "height_width_channels"),
    [
        ((4, 84, 84), (84, 84, 4)),
        ((3, 210, 160), (210, 160, 3)),
        ((210, 160, 3), (210, 160, 3)),
        ((8, 8, 111), (8, 8, 111)),
        ((10, 10, 10), (10, 10, 10)),
        ((10, 12, 14), (10, 12, 14)),
        ((9, 84, 84, 3), (84, 84, 27)),
    ],
)
def test_axes_of_pictures(shape, height_width_channels):
    assert layout_of(shape).shape == height_width_channels


@pytest.mark.parametrize("shape", [(), (84,), (84, 84), (4, 10, 2), (17, 9, 9, 3)])
def test_no_pictures(shape):
    assert layout_of(shape) is None


class TestSpec:
    @pytest.mark.parametrize(
        "space",
        [
            spaces.Discrete(4, start=3),
            box(0, 1, 10, 10, 4, dtype=U1),
            spaces.Box(np.array([0, 5]), np.array([10, 5]), dtype=int),
            box(-np.inf, np.inf, 3),
        ],
        ids=str,
    )
    def test_it_is_saved(self, space):
        spec = ObservationSpec.of_space(space)
        copy = keras.saving.serialize_keras_object(spec)
        assert keras.saving.deserialize_keras_object(copy) == spec

    def test_of_a_file_without_bounds_none_are_known(self):
        config = {"shape": [36, 36, 1], "dtype": "uint8", "num_classes": None}
        old = ObservationSpec.from_config(config)
        assert (old.low, old.high, old.start) == (None, None, 0)
        assert ObservationSpec((36, 36, 1), "uint8").high == 255.0

    @pytest.mark.parametrize(
        ("dtype", "name"),
        [("f8", "float32"), ("f2", "float32"), ("i8", "int64"), ("u1", "uint8")],
    )
    def test_dtypes_are_those_of_the_environments_batches(self, dtype, name):
        assert ObservationSpec.of_space(box(0, 1, 2, dtype=dtype)).dtype == name

    def test_what_no_network_can_use_is_refused(self):
        empty = spaces.Discrete(2)
        empty.n = 0
        for space, message in [
            (empty, "at least one observation.*n=0"),
            (spaces.Text(3), "Box, Discrete.*Text.*wrapper"),
            (box(0, 1, 0), r"hold numbers.*\(0,\)"),
        ]:
            with pytest.raises(ValueError, match=message):
                ObservationSpec.of_space(space)


def test_a_convolution_of_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"three axes.*\(4,\).*encoder='mlp'"):
        encoder_for(box(0, 1, 4), encoder="nature_cnn")
    with pytest.raises(ValueError, match="at least 36 x 36"):
        encoder_for(box(0, 255, 32, 32, 3, dtype=U1), encoder="nature_cnn")
    with pytest.raises(ValueError, match="`num_classes` with"):
        q_network(spaces.Discrete(3), 2, num_classes=3)


class TestKindsOfSpaces:
    """Which encoder each space gets; the table of docs/environments.md."""

    def test_multi_discrete_and_multi_binary(self):
        """Row 9 of vectors.md: [0,0,1,1,0] and [1,0,1]."""
        model = encoder_for(spaces.MultiDiscrete([3, 2]), hidden=())
        np.testing.assert_array_equal(model(np.array([[2, 0]])), [[0, 0, 1, 1, 0]])
        model = encoder_for(spaces.MultiBinary(3), hidden=())
        np.testing.assert_array_equal(model(np.int8([[1, 0, 1]])), [[1, 0, 1]])

    def test_multi_discrete_of_two_axes_and_with_starts(self):
        space = spaces.MultiDiscrete([[3, 2], [2, 2]], start=[[5, 0], [0, 1]])
        model = encoder_for(space, hidden=())
        row = np.array([[[7, 0], [1, 2]]])
        np.testing.assert_array_equal(model(row), [[0, 0, 1, 1, 0, 0, 1, 0, 1]])

    def test_pictures_within_dictionaries(self):
        """Scaled, brought to channels last and convolved as if they were alone."""
        picture = spaces.Box(0, 255, [3, 40, 40], np.uint8)
        space = spaces.Dict({"camera": picture, "speed": spaces.Box(-1, 1, [2])})
        alone = encoder_for(picture, hidden=(), name="alone")
        both = encoder_for(space, hidden=(), name="both")
        both.set_weights(alone.get_weights())
        camera = np.random.default_rng(0).integers(0, 256, [2, 3, 40, 40], np.uint8)
        speed = np.float32([[0.5, 1.0], [0.0, -1.0]])
        found = both({"camera": camera, "speed": speed})
        expected = np.hstack([alone(camera), speed])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_an_entry_may_have_the_name_of_a_layer(self):
        names = ("value", "policy", "mean", "encoder", "hidden", "values")
        space = spaces.Dict({name: spaces.Box(-1, 1, [1]) for name in names})
        batch = {name: np.ones([2, 1], np.float32) for name in names}
        model = actor_critic(space, 4, gaussian_std="dependent")
        assert [output.shape for output in model(batch)] == [(2, 4), (2, 1)]
        assert q_network(space, 3, dueling=True)(batch).shape == (2, 3)

    def test_impala_cnn(self):
        """Three sections halve 84 to 11: 11 * 11 * 32; 15 convolutions."""
        model = impala_cnn((84, 84, 4), units=None)
        assert model.output_shape == (None, 3872)
        kernels = [w for w in model.weights if len(w.shape) == 4]
        assert len(kernels) == 15
        first = (4 * 9 + 1) * 16 + 4 * (16 * 9 + 1) * 16
        rest = (16 * 9 + 1) * 32 + 9 * (32 * 9 + 1) * 32
        assert model.count_params() == first + rest == 97_744
        space = spaces.Box(0, 255, [9, 9, 3], np.uint8)
        assert encoder_for(space, encoder="impala_cnn").output_shape == (None, 64)
        with pytest.raises(ValueError, match="at least 8 x 8"):
            impala_cnn((7, 7, 3))
