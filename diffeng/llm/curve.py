"""The curve of a loss as an SVG file, without a plotting library: two lines, two axes, round numbers.

What it is: `draw`. What it is not: a plot of anything else. Why a file: training should leave a picture wherever it runs.
"""
import math

from ..writing import replacing

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 60, 44, 24, 20
_LINES = {"loss": ("#7aa6c2", 1.2), "validation": ("#c8553d", 2.0)}


def draw(entries, path):
    """Write the losses of a log, dicts with "step", "loss" and sometimes "validation", as a picture that replaces `path`; nothing for less than two."""
    lines = {name: [(e["step"], e[name]) for e in entries if isinstance(e.get(name), (int, float)) and math.isfinite(e[name])] for name in _LINES}
    points = [p for line in lines.values() for p in line]
    if len({x for x, _ in points}) < 2:
        return
    (x0, x1), (y0, y1) = ((min(v), max(v)) for v in zip(*points))
    y1 = max(y1, y0 + 1e-3)

    def place(x, y):
        return f"{LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP):.1f}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for y in _round_numbers(y0, y1):
        a, b = place(x0, y), place(x1, y)
        out += [f'<polyline points="{a} {b}" stroke="#ddd"/>', f'<text x="{LEFT - 8}" y="{float(a.split(",")[1]) + 4}" text-anchor="end">{y:g}</text>']
    for x in _round_numbers(x0, x1):
        out.append(f'<text x="{place(x, y0).split(",")[0]}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    for k, (name, line) in enumerate(lines.items()):
        colour, width = _LINES[name]
        if line:
            out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{" ".join(place(*p) for p in line)}"/>')
            label = f"{name} {line[-1][1]:.4f}"
            out.append(f'<text x="{WIDTH - RIGHT}" y="{TOP + 14 * k}" text-anchor="end" fill="{colour}">{label}</text>')
    with replacing(path) as file:
        file.write("\n".join([*out, "</svg>", ""]).encode())


def _round_numbers(lo, hi):
    """Some four to ten multiples of 1, 2 or 5 times a power of ten between two numbers."""
    step = 10.0 ** math.floor(math.log10(hi - lo))
    step = step / 5 if (hi - lo) / step < 2 else step / 2 if (hi - lo) / step < 5 else step
    return [k * step for k in range(math.ceil(lo / step), math.floor(hi / step) + 1)]
