"""Pictures of states, drawn as NumPy arrays: no display, no further package."""

import itertools
import math

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 480, 320  # pixels; video codecs want even numbers
CELL = 32  # pixels along each side of a cell
BLACK, WHITE, GREY = (20, 20, 24), (255, 255, 255), (150, 150, 158)
BLUE, BROWN, RED, GREEN = (52, 92, 160), (190, 138, 90), (200, 60, 50), (60, 140, 80)
# Of the planes of a board, in turn.
_PLANES = np.array(
    [
        (90, 200, 120), (240, 240, 240), (120, 120, 130), (220, 110, 70),
        (90, 150, 240), (240, 210, 80), (200, 100, 200), (90, 210, 220),
    ],
    np.uint8,
)  # fmt: skip


class Canvas:
    """A white picture with coordinates of its own, which point upwards.

    Args:
        left: Float, the coordinate at the left edge.
        right: Float, at the right edge; one unit is as long upwards.
        middle: Float, the upward coordinate halfway up.
    """

    def __init__(self, left, right, middle=0.0):
        self._scale = WIDTH / (right - left)
        self._left, self._top = left, middle + HEIGHT / 2 / self._scale
        self._image = Image.new("RGB", (WIDTH, HEIGHT), WHITE)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points, color, width=2):
        """Draws through points `[(x, y), ...]`; `width` is in pixels."""
        self._draw.line(
            [self._at(*point) for point in points], color, width, joint="curve"
        )

    def dot(self, x, y, radius, color):
        """Draws a disc; `radius` is in pixels."""
        x, y = self._at(x, y)
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)

    def box(self, left, bottom, right, top, color):
        (left, bottom), (right, top) = self._at(left, bottom), self._at(right, top)
        self._draw.rectangle((left, top, right, bottom), color)

    def array(self):
        """The picture, `[HEIGHT, WIDTH, 3]` uint8."""
        return np.asarray(self._image)

    def _at(self, x, y):
        return (x - self._left) * self._scale, (self._top - y) * self._scale


def cart_and_pole(position, angle, length, limit):
    """A cart on its rail and the pole on it, up to `limit` to each side."""
    canvas = Canvas(-1.1 * limit, 1.1 * limit, middle=0.9)
    canvas.line([(-1.1 * limit, 0), (1.1 * limit, 0)], BLACK)
    for end in (-limit, limit):
        canvas.line([(end, -0.1), (end, 0.1)], GREY)
    canvas.box(position - 0.25, -0.12, position + 0.25, 0.12, BLACK)
    tip = position + length * math.sin(angle), 0.12 + length * math.cos(angle)
    canvas.line([(position, 0.12), tip], BROWN, 10)
    canvas.dot(position, 0.12, 5, BLUE)
    return canvas.array()


def joints(points, goal=None):
    """Rods through points, the first of them fixed, and a line to reach or None."""
    reach = sum(math.dist(a, b) for a, b in itertools.pairwise(points))
    canvas = Canvas(-1.8 * reach, 1.8 * reach)
    if goal is not None:
        canvas.line([(-1.8 * reach, goal), (1.8 * reach, goal)], GREY)
    canvas.line(points, RED, 14)
    for point in points[:-1]:
        canvas.dot(*point, 8, BLACK)
    canvas.dot(*points[-1], 7, RED)
    return canvas.array()


def car_on_hill(position, goal, low, high):
    """A car in the valley `0.45 sin(3 x)` and the flag that it is to reach."""

    def height(x):
        return 0.45 * math.sin(3 * x)

    canvas = Canvas(low, high, middle=0.1)
    road = np.linspace(low, high, 100)
    canvas.line([(x, height(x)) for x in road], BLACK, 3)
    top = height(goal) + 0.2
    canvas.line([(goal, height(goal)), (goal, top)], BLACK)
    canvas.box(goal, top - 0.07, goal + 0.09, top, GREEN)
    canvas.dot(position, height(position) + 0.035, 12, BLUE)
    return canvas.array()


def board(planes):
    """Planes of cells in a colour each; later planes cover earlier ones.

    Args:
        planes: `[rows, columns, C]` of zeros and ones.

    Returns:
        `[32 * rows, 32 * columns, 3]` uint8.
    """
    planes = np.asarray(planes)
    cells = np.empty([*planes.shape[:2], 3], np.uint8)
    cells[:] = BLACK
    for index in range(planes.shape[-1]):
        cells[planes[..., index] > 0] = _PLANES[index % len(_PLANES)]
    picture = cells.repeat(CELL, axis=0).repeat(CELL, axis=1)
    picture[::CELL] = picture[:, ::CELL] = 0  # lines between the cells
    return picture
