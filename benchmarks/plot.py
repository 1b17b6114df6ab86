"""A plot as SVG: panels side by side, each with curves over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 300, 250
LEFT, TOP, RIGHT, BOTTOM = 46, 40, 22, 46
LETTER = 7.2
"""Pixels that a letter of a label takes, at most."""
COLOURS = ("#1f5fa8", "#b8471b", "#3d7d3a")
STYLE = "font-family:sans-serif;font-size:11px;fill:#222"

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: its title, what its axes are, and its curves by their labels."""

    title: str
    along: str
    up: str
    curves: dict[str, Points]


def svg(panels: Sequence[Panel]) -> str:
    """All panels in one picture."""
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" '
        f'width="{width}" height="{HEIGHT}" style="{STYLE}" role="img">',
        f"<title>{escape('; '.join(panel.title for panel in panels))}</title>",
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    points = [point for curve in panel.curves.values() for point in curve]
    low = math.log10(min(x for x, _ in points))
    high = math.log10(max(x for x, _ in points))
    top, step = scale(max(y for _, y in points))

    def across(x: float) -> float:
        share = (math.log10(x) - low) / ((high - low) or 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        _text(LEFT, 16, panel.title, "font-weight:bold"),
        _text(LEFT, 30, panel.up),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, panel.along, "text-anchor:middle"),
    ]
    for line in range(round(top / step) + 1):
        y = down(line * step)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 5, y + 4, f"{line * step:g}", "text-anchor:end"))
    for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        x = across(10.0**power)
        parts.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 15, f"{10**power:,}", "text-anchor:middle"))
    for number, (label, curve) in enumerate(panel.curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(x)},{down(y)}" for x, y in curve)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x)}" cy="{down(y)}" r="3" fill="{colour}"/>'
                  for x, y in curve]  # fmt: skip
        # At the end of the curve, above all of it that the label reaches over.
        right = across(curve[-1][0])
        left = right - LETTER * len(label)
        starts = [n for n, (x, _) in enumerate(curve) if across(x) <= left]
        above = min(down(y) for _, y in curve[max(starts, default=0) :])
        style = f"text-anchor:end;fill:{colour};font-weight:bold"
        parts.append(_text(right, above - 8, label, style))
    return parts


def scale(most: float) -> tuple[float, float]:
    """The end of an axis that has `most` on it, and the step of its lines."""
    if most <= 0:
        return 1.0, 1.0
    step = 10.0 ** math.floor(math.log10(most))
    for factor in (0.2, 0.5, 1.0, 2.0):
        if most * 1.15 / (step * factor) <= 6:
            step *= factor
            break
    return step * math.ceil(most * 1.15 / step), step


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" style="{style}">{escape(text)}</text>'
