"""Plots as SVG: of a scenario a bar for each proxy, with the spread of its rounds."""
COLOURS = {"ai-gateway": "#d62728", "copy relay": "#bbbbbb", "splice relay": "#bbbbbb"}
OTHER, OWN = "#1f77b4", "#f0a0a0"
WIDTH, LEFT, PANEL, GAP, TOP, ROW = 960, 190, 330, 60, 62, 26


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def colour(name):
    return COLOURS.get(name) or (OWN if name.startswith("ai-gateway") else OTHER)


def panel(left, title, figures, form):
    """One panel: {name: {median, min, max}}; names that have none have no bar."""
    out = [f'<text x="{left}" y="{TOP - 14}" fill="#555">{escaped(title)}</text>']
    # A proxy that is far off would make all others look alike, so its bar is cut where the others are read well.
    medians = sorted(figure["median"] for figure in figures.values() if figure)
    edge = min(max((figure["max"] for figure in figures.values() if figure), default=1), 4 * medians[len(medians) // 2]) or 1
    room = PANEL - 70
    for number, (name, figure) in enumerate(figures.items()):
        y = TOP + ROW * number
        if not figure:
            continue
        across = lambda value: left + room * min(value / edge, 1)
        median, low, high = (across(figure[key]) for key in ("median", "min", "max"))
        middle = y + ROW / 2 - 2
        out.append(f'<rect x="{left}" y="{y + 3}" width="{median - left:.1f}" height="{ROW - 10}" fill="{colour(name)}"/>')
        out.append(f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" stroke="#222" fill="none"/>')
        is_cut = figure["median"] > edge
        out.append(f'<text x="{max(median, high) + 5:.1f}" y="{middle + 4}">{form(figure["median"])}{" →" if is_cut else ""}</text>')
    return out


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def plot(scenario, proxies):
    """The SVG of {proxy: figures}: processor time, and the times where there are such, or memory."""
    height = TOP + ROW * len(proxies) + 14
    panels = [(f"CPU µs for each {scenario.unit}", {name: figures["cpu_us"] for name, figures in proxies.items()})]
    if any(figures.get("kib") for figures in proxies.values()):
        panels.append(("KiB of memory each", {name: figures.get("kib") for name, figures in proxies.items()}))
    elif any(figures["p99_us"] for figures in proxies.values()):
        panels.append((f"p99, µs, of the {scenario.timed or 'answer'}", {name: figures["p99_us"] for name, figures in proxies.items()}))
    else:
        panels.append((f"{scenario.unit}s a second", {name: figures["per_second"] for name, figures in proxies.items()}))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>', f'<text x="12" y="24" font-size="15">{escaped(scenario.title)}</text>']
    for row, name in enumerate(proxies):
        out.append(f'<text x="{LEFT - 10}" y="{TOP + ROW * row + ROW / 2 + 2}" text-anchor="end">{escaped(name)}</text>')
    for column, (title, figures) in enumerate(panels):
        out += panel(LEFT + column * (PANEL + GAP), title, figures, number)
    return "\n".join(out) + "\n</svg>\n"
