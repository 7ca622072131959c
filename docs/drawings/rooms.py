"""The rooms of the package, drawn from its imports."""

import ast
import functools
import itertools
from pathlib import Path

from docs.drawings.svg import BLUE, GREY, PALE, Picture

PACKAGE = Path(__file__).parents[2] / "kerasrl2"
BOX, HEIGHT, THIN = 112, 28, 6  # pixels: a room, and an arrow that passes a floor
ACROSS, UP, TOP = 12, 44, 44  # gaps
SWEEPS = 40


@functools.cache
def imports():
    """Dictionary of rooms to the set of rooms they import, without private ones."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not room.startswith("_"):
            found.setdefault(room, set()).update(_imported(path) - {room})
    return {room: others & set(found) for room, others in found.items()}


def _imported(path):
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        rooms |= {p[1] for p in parts if p[0] == "kerasrl2" and len(p) > 1}
    return rooms


def direct(graph):
    """Pairs `(room, other)` of imports that no chain of other imports implies."""

    @functools.cache
    def reached(room):
        return set().union(*({other} | reached(other) for other in graph[room]))

    return sorted(
        (room, other)
        for room, others in graph.items()
        for other in others
        if not any(other in reached(between) for between in others)
    )


def floors(graph):
    """Dictionary of rooms to floors, 0 at the top: just below all that import them."""

    @functools.cache
    def floor(room):
        importers = (other for other in graph if room in graph[other])
        return 1 + max(map(floor, importers), default=-1)

    return {room: floor(room) for room in graph}


def arranged(graph):
    """Rows of what is drawn, and the chains of arrows.

    An arrow over several floors passes each of them between rooms: there it has a
    place of its own, a tuple `(room, other, floor)`. Rows are put into an order in
    which each is near to what it is connected with, and few arrows cross.

    Returns:
        `(rows, chains)`, lists of lists of names and such tuples.
    """
    level, chains = floors(graph), []
    for room, other in direct(graph):
        between = [(room, other, n) for n in range(level[room] + 1, level[other])]
        chains.append([room, *between, other])
    rows = [[] for _ in range(max(level.values()) + 1)]
    for room in sorted(graph):
        rows[level[room]].append(room)
    for chain in chains:
        for place in chain[1:-1]:
            rows[place[2]].append(place)
    near = {}
    for chain in chains:
        for above, below in itertools.pairwise(chain):
            near.setdefault(below, []).append(above)
            near.setdefault(above, []).append(below)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            at = {
                place: (x0 + x1) / 2
                for other in rows
                for place, x0, x1 in _spread(other)
            }
            wish = {p: sum(at[n] for n in near.get(p, [p])) for p in row}
            row.sort(key=lambda p, wish=wish: wish[p] / len(near.get(p, [p])))
    return rows, chains


def _spread(row):
    """`(place, left, right)` of each in a row, around 0."""
    widths = [BOX if isinstance(place, str) else THIN for place in row]
    left = -(sum(widths) + ACROSS * (len(row) - 1)) / 2
    for place, width in zip(row, widths, strict=True):
        yield place, left, left + width
        left += width + ACROSS


def draw():
    """The picture as SVG."""
    rows, chains = arranged(imports())
    spread = [list(_spread(row)) for row in rows]
    width = 2 * max(row[-1][2] for row in spread) + 32
    height = TOP + len(rows) * (HEIGHT + UP) - UP + 40
    title = "Rooms of kerasrl2: an arrow points to what a room imports"
    picture = Picture(width, height, title)
    picture.text(16, 26, title, weight="bold")
    note = "Not drawn: imports that a chain of arrows implies."
    picture.text(16, height - 12, note, fill=GREY, size=11)
    places = {
        place: (width / 2 + (left + right) / 2, TOP + number * (HEIGHT + UP))
        for number, row in enumerate(spread)
        for place, left, right in row
    }
    for chain in chains:
        picture.line(_curve([places[place] for place in chain]), tip=True)
    for place, (x, y) in places.items():
        if isinstance(place, str):
            picture.box(x - BOX / 2, y, BOX, HEIGHT, fill=PALE, stroke=BLUE)
            picture.text(x, y + 18, place, anchor="middle", size=12)
    return str(picture)


def _curve(points):
    """A path from the bottom of the first room to the top of the last."""
    (x, y), *rest = points
    path = f"M{x:g} {y + HEIGHT:g}"
    for x2, y2 in rest:
        path += f"C{x:g} {y + HEIGHT + UP / 2:g} {x2:g} {y2 - UP / 2:g} {x2:g} {y2:g}"
        x, y = x2, y2
        if (x2, y2) != points[-1]:
            path += f"V{y + HEIGHT:g}"
    return path
