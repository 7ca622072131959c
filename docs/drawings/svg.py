"""A picture of boxes, lines and words as SVG text."""

from xml.sax.saxutils import escape

INK, PALE, BLUE, GREEN, GREY = "#1d2733", "#eef2f7", "#2f6db5", "#3a8a5c", "#7a8694"


class Picture:
    """A white picture with rounded corners, readable on light and dark pages.

    Args:
        width: Number, pixels.
        height: Number, pixels.
        title: String, what a screen reader says.
    """

    def __init__(self, width, height, title):
        self._lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{GREY}"/></marker></defs>',
        ]
        self.box(0, 0, width, height, fill="#ffffff", radius=8)

    def box(self, x, y, width, height, fill=PALE, stroke="none", radius=4):
        self._lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'rx="{radius}" fill="{fill}" stroke="{stroke}"/>'
        )

    def text(self, x, y, words, fill=INK, anchor="start", weight="normal", size=13):
        self._lines.append(
            f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" '
            f'font-weight="{weight}" font-size="{size}">{escape(words)}</text>'
        )

    def code(self, x, y, words, fill=INK):
        self._lines.append(
            f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="12" '
            f'font-family="ui-monospace, monospace">{escape(words)}</text>'
        )

    def line(self, path, stroke=GREY, width=1.2, tip=False):
        """Draws along `path`, in the words of SVG (`M x y L x y`)."""
        end = ' marker-end="url(#tip)"' if tip else ""
        self._lines.append(
            f'<path d="{path}" fill="none" stroke="{stroke}" '
            f'stroke-width="{width}"{end}/>'
        )

    def __str__(self):
        return "\n".join([*self._lines, "</svg>", ""])
