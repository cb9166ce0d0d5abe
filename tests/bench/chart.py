"""The bar chart of a benchmark run: how many times native's time each workload took, as SVG."""
import math

BAR, GAP, LEFT, RIGHT, TOP = 9, 8, 92, 64, 44
COLOURS = ["#b0b7c3", "#2166ac", "#67a9cf", "#d6604d"]


def label(x, y, text, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{text}</text>'


def draw(median, names, groups, width=760):
    """SVG text.  median: {system: {workload: seconds}} with 'native'; names: the other systems;
    groups: {title: workloads}.  Bars are on a logarithmic scale that begins at the least ratio."""
    native = median["native"]
    rows = [(title, [w for w in members if native.get(w) and any(median[n].get(w) for n in names)])
            for title, members in groups.items()]
    rows = [(title, members) for title, members in rows if members]
    ratios = [median[n][w] / native[w] for _, members in rows for w in members for n in names
              if median[n].get(w)]
    low, high = min([0.25, *ratios]), max([2, *ratios])
    scale = (width - LEFT - RIGHT) / math.log(high / low)

    def at(ratio):
        return LEFT + math.log(ratio / low) * scale

    body, y = [], TOP
    for title, members in rows:
        body.append(label(8, y + 10, title, 'font-weight="bold"'))
        y += 18
        for w in members:
            body.append(label(LEFT - 6, y + BAR * len(names) / 2 + 4, w, 'text-anchor="end"'))
            for n, colour in zip(names, COLOURS):
                if median[n].get(w):
                    ratio = median[n][w] / native[w]
                    body.append(f'<rect x="{LEFT}" y="{y}" width="{at(ratio) - LEFT:.1f}" '
                                f'height="{BAR - 1}" fill="{colour}"/>')
                    body.append(label(at(ratio) + 3, y + BAR - 1, f"{ratio:.3g}", 'font-size="9"'))
                y += BAR
            y += GAP
    one = at(1)
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 4}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{y + 4}" fill="white"/>',
            label(8, 18, "Times as long as native code (logarithmic; shorter is better)",
                  'font-size="14"'),
            f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{y}" stroke="#888" '
            'stroke-dasharray="3 3"/>',
            label(one, TOP - 9, "native", 'font-size="10" text-anchor="middle"')]
    x = width - RIGHT
    for n, colour in reversed(list(zip(names, COLOURS))):
        x -= 28 + 8 * len(n)
        head.append(f'<rect x="{x}" y="9" width="10" height="10" fill="{colour}"/>')
        head.append(label(x + 14, 18, n))
    return "\n".join([*head, *body, "</svg>"]) + "\n"
