"""The picture of a case: how far each host was, over time; one panel for each program."""

import dataclasses
import html
import math

WIDTH, PANEL, GAP = 800, 300, 74  # px
LEFT, RIGHT, TOP = 64, 110, 76
FONT = "font-family='sans-serif'"


@dataclasses.dataclass
class Line:
    name: str  # "": not in the legend
    points: list  # [(seconds, fraction 0..1)]
    colour: str = ""
    dashed: bool = False


@dataclasses.dataclass
class Panel:
    title: str
    lines: list
    marks: list = dataclasses.field(default_factory=list)  # [(seconds, text)]


def _colours(count):
    """Hues apart from each other, dark enough on white."""
    return [f"hsl({round(360 * at / max(1, count))},70%,{36 + 12 * (at % 2)}%)"
            for at in range(count)]


def _step(span, wanted):
    """A round step that divides `span` into about `wanted` parts."""
    raw = span / wanted
    power = 10 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if raw <= power * factor * 1.001)


def _text(x, y, text, size=12, anchor="start", colour="#333"):
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' "
            f"fill='{colour}' {FONT}>{html.escape(text)}</text>")


class _Axes:
    def __init__(self, top, seconds):
        self.top, self.seconds = top, seconds
        self.width = WIDTH - LEFT - RIGHT

    def x(self, seconds):
        return LEFT + self.width * min(seconds, self.seconds) / self.seconds

    def y(self, fraction):
        return self.top + PANEL * (1 - fraction)

    def draw(self, t0):
        out = [f"<rect x='{LEFT}' y='{self.top}' width='{self.width}' height='{PANEL}' "
               "fill='#fcfcfc' stroke='#999'/>"]
        for tenth in range(0, 11, 2):
            y = self.y(tenth / 10)
            out.append(f"<line x1='{LEFT}' x2='{LEFT + self.width}' y1='{y:.1f}' y2='{y:.1f}' "
                       "stroke='#e4e4e4'/>")
            out.append(_text(LEFT - 6, y + 4, f"{tenth * 10} %", 11, "end"))
        step = _step(self.seconds, 10)
        for at in range(int(self.seconds / step + 1e-6) + 1):
            x = self.x(at * step)
            out.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{self.top}' "
                       f"y2='{self.top + PANEL}' stroke='#eeeeee'/>")
            out.append(_text(x, self.top + PANEL + 16, f"{at * step:g}", 11, "middle"))
        out.append(_text(LEFT + self.width / 2, self.top + PANEL + 34,
                         "seconds since the clients asked", 12, "middle"))
        middle = self.top + PANEL / 2
        out.append(f"<g transform='rotate(-90 16 {middle})'>"
                   + _text(16, middle, "verified pieces", 12, "middle") + "</g>")
        if t0:
            out += self.mark(t0, "T0", "#000")
        return out

    def mark(self, seconds, text, colour):
        x = self.x(seconds)
        return [f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{self.top}' y2='{self.top + PANEL}' "
                f"stroke='{colour}' stroke-dasharray='5 4'/>",
                _text(x + 4, self.top + 14, text, 11, "start", colour)]


def _legend(lines, colours, top):
    out = []
    named = [(line, colour) for line, colour in zip(lines, colours) if line.name]
    pitch = min(17, PANEL / max(1, len(named)))
    for at, (line, colour) in enumerate(named):
        y = top + 8 + at * pitch
        x = WIDTH - RIGHT + 14
        dash = " stroke-dasharray='5 3'" if line.dashed else ""
        out.append(f"<line x1='{x}' x2='{x + 22}' y1='{y:.1f}' y2='{y:.1f}' stroke='{colour}' "
                   f"stroke-width='2'{dash}/>")
        out.append(_text(x + 28, y + 4, line.name, min(11, pitch)))
    return out


def draw(path, title, subtitle, panels, t0=None):
    """Writes the SVG; all panels have the same time axis."""
    seconds = max([point[0] for panel in panels for line in panel.lines
                   for point in line.points] + [t0 or 0.1]) * 1.03
    height = TOP + len(panels) * (PANEL + GAP) + 4
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' "
           f"viewBox='0 0 {WIDTH} {height}'>",
           f"<rect width='{WIDTH}' height='{height}' fill='#fff'/>",
           _text(LEFT, 22, title, 16, colour="#000"), _text(LEFT, 39, subtitle, 11)]
    for number, panel in enumerate(panels):
        axes = _Axes(TOP + number * (PANEL + GAP), seconds)
        out.append(_text(LEFT, axes.top - 7, panel.title, 13, colour="#000"))
        out += axes.draw(t0)
        colours = [line.colour or colour
                   for line, colour in zip(panel.lines, _colours(len(panel.lines)))]
        for line, colour in zip(panel.lines, colours):
            points = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in line.points)
            dash = " stroke-dasharray='5 3'" if line.dashed else ""
            out.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.4'{dash} "
                       f"points='{points}'/>")
        for at, text in panel.marks:
            out += axes.mark(at, text, "#b00")
        out += _legend(panel.lines, colours, axes.top)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*out, "</svg>"]) + "\n")
    return path
