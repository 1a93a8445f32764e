"""After rendering: numbers, names, contents."""

import html
import re

PLOT_COLORS = {  # of crack_utils.plots; style.css has what each becomes in a dark theme
    "#ffffff": "paper",
    "#000000": "ink",
    "#b0b0b0": "grid",
    "#666666": "grey",
    "#0072b2": "blue",
    "#d55e00": "orange",
    "#009e73": "green",
    "#cc79a7": "pink",
    "#e69f00": "amber",
    "#56b4e9": "sky",
    "#8c6bb1": "violet",
}
HEADING = re.compile(r"<h([123])\b([^>]*)>(.*?)</h\1>", re.DOTALL)
ID = re.compile(r'\bid="([^"]+)"')
FIGURE_PART = re.compile(r'<figure\b([^>]*)>|(<figcaption>|<span class="caption">)')
IMAGE = re.compile(r"<image\b[^>]*>(?:</image>)?")
EMBEDDED = re.compile(r'\bhref="(data:[^"]+)"')
KEY = re.compile(r'data-key="([^"]+)"')
REFERENCE = re.compile(r'<a href="#((?:fig|tbl)-[^"]+)">(.*?)</a>', re.DOTALL)
CONTENTS = "<!-- contents -->"


def themed(svg: str, number: int) -> str:
    """A figure of :mod:`crack_utils.plots` ready to stand in a page: as wide as there is room, its colours those of the theme, its
    names no other figure's."""
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda match: _variable(match[0]), svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", svg)


def _variable(color: str) -> str:
    return f"var(--plot-{PLOT_COLORS[color]}, {color})" if color in PLOT_COLORS else color


def finish(page: str) -> str:
    """Embed each picture once, number figures and tables, name headings, resolve references, and fill in the contents."""
    page = _embed_once(page)
    page = re.sub(r"<pre(?=[ >])", '<pre tabindex="0"', page)  # it may scroll, by the keyboard too
    page, numbers = _number(page)
    page = REFERENCE.sub(lambda match: _reference(match[1], match[2], numbers), page)
    page, headings = _name_headings(page)
    return page.replace(CONTENTS, _contents(headings), 1)


def _embed_once(page: str) -> str:
    """An image that several examples show, as in small test sets: the first holds it, the others refer to that."""
    first: dict[str, str] = {}

    def refer(match: re.Match) -> str:
        name, data = ID.search(match[0]), EMBEDDED.search(match[0])
        if not (name and data) or first.setdefault(data[1], name[1]) == name[1]:
            return match[0]
        return f'<use id="{name[1]}" href="#{first[data[1]]}"></use>'

    return IMAGE.sub(refer, page)


def _number(page: str) -> tuple[str, dict[str, str]]:
    """Figures and tables counted in their captions; also what each id is called, such as "Figure 3"."""
    counts = {"Figure": 0, "Table": 0}
    names: dict[str, str] = {}
    current = ""

    def label(match: re.Match) -> str:
        nonlocal current
        if match[2]:
            opening, text = match[2], current
            current = ""
            return f'{opening}<span class="number">{text}.</span> ' if text else opening
        kind = "Table" if 'class="table' in match[1] else "Figure"
        counts[kind] += 1
        current = f"{kind} {counts[kind]}"
        key = KEY.search(match[1])
        short = {"Table": "tbl", "Figure": "fig"}[kind]
        name = f"{short}-{key[1] if key else counts[kind]}"
        if name in names:
            name += f"-{counts[kind]}"
        given = ID.search(match[1])
        names[given[1] if given else name] = current
        return match[0] if given else f'<figure id="{name}"{match[1]}>'

    return FIGURE_PART.sub(label, page), names


def _reference(target: str, text: str, numbers: dict[str, str]) -> str:
    return f'<a href="#{target}">{text} ({numbers[target]})</a>' if target in numbers else text


def _name_headings(page: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Headings with ids; also (level, id, text) of those below the title."""
    found: list[tuple[int, str, str]] = []
    taken: set[str] = set()

    def name(match: re.Match) -> str:
        level, text, given = int(match[1]), re.sub(r"<[^>]+>", "", match[3]).strip(), ID.search(match[2])
        slug = base = given[1] if given else re.sub(r"[^a-z0-9]+", "-", html.unescape(text).lower()).strip("-") or "section"
        number = 1
        while slug in taken:
            number += 1
            slug = f"{base}-{number}"
        taken.add(slug)
        if level > 1:
            found.append((level, slug, text))
        return f'<h{level} id="{slug}"{ID.sub("", match[2])}>{match[3]}</h{level}>'

    return HEADING.sub(name, page), found


def _contents(headings: list[tuple[int, str, str]]) -> str:
    items = "".join(f'<li class="level-{level}"><a href="#{slug}">{text}</a></li>' for level, slug, text in headings)
    return f"<ol>{items}</ol>" if items else ""
