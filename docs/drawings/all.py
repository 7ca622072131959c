"""Which pictures there are."""

from pathlib import Path

from docs.drawings import loop, rooms, speed

STATIC = Path(__file__).parents[1] / "_static"
PICTURES = {"loop.svg": loop.draw, "rooms.svg": rooms.draw, "speed.svg": speed.draw}
