"""The last step of a page: it numbers figures and tables, gives ids, resolves references, lists the contents."""

import dataclasses
import html
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import accumulate, count
from operator import itemgetter

CONTENTS = "<!-- contents -->"
HEADINGS = ("h1", "h2", "h3")
WITHOUT_END = ("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "p", "source", "track", "wbr")  # p may have one
OPTIONAL_END = ("li", "dt", "dd", "option", "thead", "tbody", "tfoot", "tr", "th", "td")
VERBATIM = ("pre", "template")  # nothing inside is edited
ADDED = {"pre": ("tabindex", "0"), "img": ("alt", "No description has been provided for this image")}  # a box may scroll, by keyboard too


def finish(page: str) -> str:
    """Embed each picture once, number figures and tables, name headings, resolve references, and fill in the contents."""
    return _Page(page).finished()


@dataclasses.dataclass(slots=True)
class _Element:
    """An element of a page; its start tag reaches from ``start`` to ``end``."""

    tag: str
    attributes: dict[str, str | None]
    start: int
    end: int
    is_verbatim: bool
    words: int  # number of text pieces read before this element
    label: str = ""  # of a figure: its number, until a caption shows it
    is_replaced: bool = False

    def get(self, name: str) -> str:
        """An attribute's value; empty without it."""
        return self.attributes.get(name) or ""


class _Page(HTMLParser):
    """One walk over a page, which notes edits by their place. All other text stays as it was written."""

    CDATA_CONTENT_ELEMENTS = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")  # hold text, no tags

    def __init__(self, page: str):
        super().__init__()
        self.page = page
        self.line_starts = list(accumulate((len(line) + 1 for line in page.split("\n")), initial=0))
        self.open: list[_Element] = []
        self.words: list[str] = []
        self.edits: list[tuple[int, int, str]] = []  # from, to, new text
        self.ids: set[str] = set()  # of all elements but headings
        self.pictures: dict[tuple, str] = {}  # the id of each picture's first element
        self.counts: Counter[str] = Counter()  # of figures and tables
        self.numbers: dict[str, str] = {}  # by id, such as "Figure 3"
        self.headings: list[tuple[_Element, str]] = []  # with their text
        self.references: list[tuple[_Element, int, int]] = []  # with the place of the end tag
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        start, is_verbatim = self._place(), bool(self.open) and self.open[-1].is_verbatim
        end = start + len(self.get_starttag_text())
        element = _Element(tag, dict(reversed(attributes)), start, end, is_verbatim or tag in VERBATIM, len(self.words))
        if tag not in HEADINGS and element.get("id"):
            self.ids.add(element.get("id"))
        if tag not in WITHOUT_END:
            self.open.append(element)
        if is_verbatim:
            return
        classes = element.get("class").split()
        if tag in ADDED:
            self._add(element, *ADDED[tag])
        elif tag == "image":
            self._embed_once(element)
        elif tag == "figure":
            kind, short = ("Table", "tbl") if "table" in classes else ("Figure", "fig")
            self.counts[kind] += 1
            element.label = f"{kind} {self.counts[kind]}"
            name = f"{short}-{element.get('data-key') or self.counts[kind]}"
            if name in self.numbers:
                name += f"-{self.counts[kind]}"
            self.numbers[element.get("id") or name] = element.label
            self._add(element, "id", name)
        elif tag == "figcaption" or (tag == "span" and "caption" in classes):
            figure = next((each for each in reversed(self.open) if each.tag == "figure"), None)
            if figure and figure.label:
                self.edits.append((end, end, f'<span class="number">{figure.label}.</span> '))
                figure.label = ""

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in WITHOUT_END:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if all(element.tag != tag for element in self.open):
            return
        start = self._place()
        end = self.page.index(">", start) + 1
        while (element := self.open.pop()).tag != tag:  # an element left open would run on through the page
            if element.tag not in OPTIONAL_END:
                self.edits.append((start, start, f"</{element.tag}>"))
        if element.is_replaced:
            self.edits.append((start, end, "</use>"))
        elif tag in HEADINGS and not element.is_verbatim:
            self.headings.append((element, "".join(self.words[element.words :]).strip()))
        elif tag == "a" and not element.is_verbatim and element.get("href").startswith(("#fig-", "#tbl-")):
            self.references.append((element, start, end))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """HTML reads ``<![`` and an unknown word as a comment; some versions of Python raise an error."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _place(self) -> int:
        line, column = self.getpos()
        return self.line_starts[line - 1] + column

    def _add(self, element: _Element, name: str, value: str) -> None:
        """Add an attribute unless the element has it."""
        if name not in element.attributes:
            place = element.start + 1 + len(element.tag)
            self.edits.append((place, place, f' {name}="{html.escape(value)}"'))

    def _embed_once(self, image: _Element) -> None:
        """Replace an SVG image by a reference to an earlier, equal one: in small test sets several examples show one image."""
        name, address = image.get("id"), image.get("href") or image.get("xlink:href")
        if not name or not address.startswith("data:"):
            return
        first = self.pictures.setdefault(tuple(sorted((image.attributes | {"id": ""}).items())), name)
        if first != name:
            image.is_replaced = True
            ending = "></use>" if self.page.startswith("/>", image.end - 2) else ">"
            self.edits.append((image.start, image.end, f'<use id="{html.escape(name)}" href="#{html.escape(first)}"{ending}'))

    def finished(self) -> str:
        """The page after all edits."""
        for element, start, end in self.references:  # a reference shows its figure's number; without a target it becomes plain text
            target = element.get("href")[1:]
            if target in self.numbers:
                self.edits.append((start, start, f" ({self.numbers[target]})"))
            elif target not in self.ids:
                self.edits += [(element.start, element.end, ""), (start, end, "")]
        taken, items = self.ids | self.numbers.keys(), []
        for element, text in self.headings:  # each gets an id of its own; the contents list all but the title
            given, numbers = element.get("id"), count(2)
            slug = base = given or re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
            while slug in taken:
                slug = f"{base}-{next(numbers)}"
            taken.add(slug)
            self._add(element, "id", slug)
            if given and slug != given:
                attributes = "".join(f' {name}="{html.escape(value or "")}"' for name, value in (element.attributes | {"id": slug}).items())
                self.edits.append((element.start, element.end, f"<{element.tag}{attributes}>"))
            if element.tag != "h1":
                link = f'<a href="#{html.escape(slug)}">{html.escape(text, quote=False)}</a>'
                items.append(f'<li class="level-{element.tag[1]}">{link}</li>')
        contents = f"<ol>{''.join(items)}</ol>" if items else ""
        pieces, done = [], 0
        for start, end, text in sorted(self.edits, key=itemgetter(0)):
            pieces += self.page[done:start], text
            done = end
        return "".join([*pieces, self.page[done:]]).replace(CONTENTS, contents, 1)
