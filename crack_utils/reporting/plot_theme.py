"""Plots in the colours of a page's theme."""

import re
from xml.etree import ElementTree

PLOT_COLORS = {  # of crack_utils.reporting.plots; style.css says what each becomes in a dark theme
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
XLINK = "{http://www.w3.org/1999/xlink}"


def themed(svg: str, number: int) -> str:
    """The SVG of plot ``number`` as an element of a page: without a size, in the theme's colours, with ids of its own."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:  # not written by crack_utils.reporting.plots
        return svg
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    for element in root.iter():  # in HTML, SVG needs no namespaces
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.replace(XLINK, "xlink:"): _themed(name, value, f"f{number}-") for name, value in element.attrib.items()}
    return ElementTree.tostring(root, encoding="unicode")


def _themed(name: str, value: str, prefix: str) -> str:
    """An attribute's value. A colour is a token within it, so it is replaced as text."""
    if name == "id":
        return prefix + value
    if name.endswith("href"):
        return f"#{prefix}{value[1:]}" if value.startswith("#") else value
    return re.sub(r"#[0-9a-f]{6}\b", _variable, value).replace("url(#", f"url(#{prefix}")


def _variable(color: re.Match) -> str:
    name = PLOT_COLORS.get(color[0])
    return f"var(--plot-{name}, {color[0]})" if name else color[0]
