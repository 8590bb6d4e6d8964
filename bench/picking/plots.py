"""Plots as SVG: of each workload which share of the requests had its first token after which time."""
import math

COLOURS = ("#d62728", "#7f7f7f", "#bcbd22", "#17becf", "#1f77b4", "#2ca02c", "#9467bd")
WIDTH, HEIGHT, LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 720, 380, 56, 40, 500, 290
POINTS = 160


def thinned(ordered):
    """So many (time, share) of a distribution that its line looks the same."""
    count = len(ordered)
    places = sorted({min(count - 1, round(count * (1 - (1 - step / POINTS) ** 2))) for step in range(POINTS + 1)})
    return [(ordered[place], (place + 1) / count) for place in places]


def distribution(title, series):
    """The SVG of {name: milliseconds of each request}; failed ones, which are infinite, keep a line from reaching the top."""
    finite = [value for values in series.values() for value in values if 0 < value < math.inf]
    low, high = math.floor(math.log10(min(finite, default=1))), math.ceil(math.log10(max(finite, default=10)))
    high = max(high, low + 1)
    across = lambda value: LEFT + PLOT_WIDTH * (math.log10(max(value, 10 ** low)) - low) / (high - low)
    down = lambda share: TOP + PLOT_HEIGHT * (1 - share)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', f'<text x="{LEFT}" y="22" font-size="15">{title}: time to first token</text>']
    for step in range(0, 11, 2):
        y = down(step / 10)
        out.append(f'<path d="M{LEFT} {y:.1f}h{PLOT_WIDTH}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step * 10} %</text>')
    for power in range(low, high + 1):
        for digit in (1, 2, 5) if power < high else (1,):
            x, value = across(digit * 10 ** power), digit * 10 ** power
            name = f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
            out.append(f'<path d="M{x:.1f} {TOP}v{PLOT_HEIGHT}" stroke="#eee"/>'
                       f'<text x="{x:.1f}" y="{TOP + PLOT_HEIGHT + 16}" text-anchor="middle">{name}</text>')
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        ordered = sorted(values)
        line = " ".join(f"{across(value):.1f},{down(share):.1f}" for value, share in thinned(ordered) if value < math.inf)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{2.4 if number == 0 else 1.4}"/>')
        y = TOP + 14 + 20 * number
        out.append(f'<path d="M{LEFT + PLOT_WIDTH + 14} {y - 4}h22" stroke="{colour}" stroke-width="{2.4 if number == 0 else 1.4}"/>'
                   f'<text x="{LEFT + PLOT_WIDTH + 42}" y="{y}">{name}</text>')
    return "\n".join(out) + "\n</svg>\n"
