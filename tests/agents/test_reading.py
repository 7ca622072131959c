"""`act` and `predict` refuse what training refuses, in one clear error."""

import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2.agents.reading import ObservationReader
from kerasrl2.layers.specs import ObservationSpec

PICTURE = np.random.default_rng(0).integers(256, size=(8, 8, 3)).astype("u1")
BYTES = spaces.Box(0, 255, (8, 8, 3), np.uint8)
UNIT = spaces.Box(0.0, 1.0, (8, 8, 3), np.float32)
PLANES = spaces.Box(0, 1, (8, 8, 3), np.uint8)
VECTOR = spaces.Box(-1.0, 1.0, (2,), np.float32)
COUNTS = spaces.Box(0, 10, (2,), np.int16)
CLASSES = spaces.Discrete(4, start=3)
CHOICES = spaces.MultiDiscrete([3, 4], start=[0, 1])
GROUND = r"^Expected observations|^Expected finite observations"


def read(space, observation):
    return ObservationReader(ObservationSpec.of_space(space))(observation)


@pytest.mark.parametrize(
    ("space", "observation", "received"),
    [
        (BYTES, 0.99 * PICTURE, "dtype float64, from 0.0 to"),
        (BYTES, PICTURE / np.float32(255), "dtype float32, from 0.0 to"),
        (BYTES, PICTURE.astype(int) + 256, "dtype int64, from 2"),
        (BYTES, PICTURE.astype(int) - 1, "from -1 to"),
        (PLANES, PICTURE, "values from 0 to 255.*another scale"),
        (UNIT, PICTURE, "values from 0.0 to 255.0.*another scale"),
        (UNIT, PICTURE.astype("f4"), "values from 0.0 to 255.0"),
        (UNIT, np.full([8, 8, 3], np.nan), "with nan"),
        (VECTOR, [np.nan, 0.0], "with nan.*division by zero"),
        (VECTOR, np.float32([0.0, -np.inf]), "with -inf"),
        (VECTOR, [1e39, 0.0], "from 0.0 to 1e.39"),
        (VECTOR, ["a", "b"], "dtype str"),
        (VECTOR, [1.0j, 0.0], "dtype complex128"),
        (VECTOR, [None, 0.0], "dtype object"),
        (VECTOR, [[0.0], [1.0, 2.0]], r"as an array.*\[1.0, 2.0\]"),
        (VECTOR, [0.0, 1.0, 2.0], r"shape \(2,\).*\(3,\)"),
        (VECTOR, 1.0, r"shape \(2,\).*\(\)"),
        (COUNTS, [1.5, 2.0], "dtype float64, from 1.5 to 2.0.*rounded"),
        (COUNTS, [2**15, 0], "from 0 to 32768"),
        (CLASSES, 99, "from 3 to 6.*99.*no such observation"),
        (CLASSES, 2, "from 3 to 6.*from 2 to 2"),
        (CLASSES, [3, 7], "from 3 to 6.*from 3 to 7"),
        (CLASSES, 2**40, "from 1099511627776"),
        (CLASSES, 4.7, "dtype float64"),
        (CLASSES, "3", "dtype str"),
        (CLASSES, None, "dtype object"),
        (CHOICES, [3, 4], r"from \[0, 1\] to \[2, 4\].*Received: \[3, 4\]"),
        (CHOICES, [2, 0], r"Received: \[2, 0\].*no such observation"),
        (CHOICES, [[0, 1], [2, 5]], r"Received: \[2, 5\]"),
        (CHOICES, [0.5, 1.0], "dtype float64"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(space, observation, received):
    with pytest.raises(ValueError, match=received) as error:
        read(space, observation)
    with pytest.raises(ValueError, match=GROUND):
        raise error.value


@pytest.mark.parametrize(
    ("space", "observation", "single"),
    [
        (BYTES, PICTURE, True),
        (BYTES, PICTURE.astype(int)[None], False),
        (PLANES, PICTURE > 9, True),
        (PLANES, (PICTURE > 9).astype("u1") * 2, True),  # training takes it as it is
        (UNIT, PICTURE / 255.0, True),
        (UNIT, PICTURE / 128.0, True),
        (VECTOR, [7.0, 1], True),  # bounds of vectors are no more than a hint
        (VECTOR, np.zeros([5, 2], int), False),
        (VECTOR, np.zeros([0, 2]), False),
        (COUNTS, np.array([3, 99], "i8"), True),
        (CLASSES, 3, True),
        (CLASSES, np.uint8(6), True),
        (CLASSES, [3, 4, 6], False),
        (CHOICES, [2, 4], True),
        (CHOICES, [[0, 1], [2, 2]], False),
    ],
    ids=str,
)
def test_what_fits_is_read_without_change(space, observation, single):
    batch, was_single = read(space, observation)
    assert was_single == single
    assert batch.dtype == ObservationSpec.of_space(space).dtype
    expected = np.asarray(observation)[None] if single else np.asarray(observation)
    np.testing.assert_array_equal(batch, expected.astype(batch.dtype))
