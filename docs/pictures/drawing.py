"""A few shapes as SVG text.

Rules:

1. A picture has a background of its own, so that it can be read on light and on dark pages.
2. Nothing is loaded: the fonts are the reader's own, and boxes leave room for wider ones.
3. The same shapes give the same text, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from attrs import field, frozen

INK: Final = "#1f2933"
FAINT: Final = "#52606d"
PAPER: Final = "#fbfaf7"
LINE: Final = "#9aa5b1"
BLUE: Final = "#dbeafe"
BLUE_LINE: Final = "#2563eb"
GREEN: Final = "#dcfce7"
GREEN_LINE: Final = "#15803d"
AMBER: Final = "#fef3c7"
AMBER_LINE: Final = "#b45309"
WHITE: Final = "#ffffff"

_FONTS: Final = "'Liberation Sans', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_FIXED: Final = "'Liberation Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@frozen
class Box:
    """A rectangle with text in its middle.

    Attributes:
        x, y, width, height: its place, in pixels.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Where its middle is, from the left."""
        return self.x + self.width / 2

    @property
    def centre(self) -> float:
        """Where its middle is, from the top."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.y + self.height


@frozen
class Drawing:
    """A picture that grows by what is drawn on it.

    Attributes:
        width, height: its size, in pixels.
        title: what it shows, for those who do not see it.
    """

    width: int
    height: int
    title: str
    _shapes: list[str] = field(factory=list, init=False)

    def box(
        self, box: Box, *, fill: str = WHITE, line: str = LINE, thick: float = 1.2, dashes: str = ""
    ) -> None:
        """Draw a rectangle."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="7" '
            f'fill="{fill}" stroke="{line}" stroke-width="{thick:g}"{dashed}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 13,
        colour: str = INK,
        anchor: str = "middle",
        is_bold: bool = False,
        is_code: bool = False,
    ) -> None:
        """Write one line; `y` is its baseline."""
        weight = ' font-weight="600"' if is_bold else ""
        family = f' font-family="{_FIXED}"' if is_code else ""
        self._shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}{family}>{escape(text, quote=False)}</text>'
        )

    def path(
        self,
        points: Sequence[tuple[float, float]],
        *,
        colour: str = FAINT,
        thick: float = 1.4,
        is_arrow: bool = True,
        dashes: str = "",
    ) -> None:
        """Draw a line from point to point, with an arrow at its end."""
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        arrow = f' marker-end="url(#arrow-{colour[1:]})"' if is_arrow else ""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(
            f'<polyline points="{way}" fill="none" stroke="{colour}" '
            f'stroke-width="{thick:g}"{arrow}{dashed}/>'
        )

    def svg(self) -> str:
        """The picture as a file."""
        markers = "".join(
            f'<marker id="arrow-{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="11" '
            f'markerHeight="11" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{colour}"/></marker>'
            for colour in (FAINT, BLUE_LINE, GREEN_LINE)
        )
        paper = (
            f'<rect width="{self.width}" height="{self.height}" rx="10" fill="{PAPER}" '
            f'stroke="{LINE}" stroke-width="0.6"/>'
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family="{_FONTS}">'
        )
        title = f"<title>{escape(self.title, quote=False)}</title>"
        defined = f"<defs>{markers}</defs>"
        return "\n".join([head, title, defined, paper, *self._shapes, "</svg>", ""])
