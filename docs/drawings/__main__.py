"""Draws all pictures anew."""

from docs.drawings.all import PICTURES, STATIC

for name, draw in PICTURES.items():
    (STATIC / name).write_text(draw(), encoding="utf-8")
