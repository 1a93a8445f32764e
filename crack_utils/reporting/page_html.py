"""The last step of a page: it numbers figures and tables, gives ids, resolves references, lists the contents."""

import dataclasses
import html
import re
from html.parser import HTMLParser
from itertools import accumulate
from operator import itemgetter

CONTENTS = "<!-- contents -->"
HEADINGS = ("h1", "h2", "h3")
WITHOUT_END = ("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "p", "source", "track", "wbr")  # p may have one
OPTIONAL_END = ("li", "dt", "dd", "option", "thead", "tbody", "tfoot", "tr", "th", "td")
VERBATIM = ("pre", "template")  # nothing inside is edited
NO_DESCRIPTION = "No description has been provided for this image"


def finish(page: str) -> str:
    """Embed each picture once, number figures and tables, name headings, resolve references, and fill in the contents."""
    walk = _Walk(page)
    walk.feed(page)
    walk.close()
    return walk.edits.applied()


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


class _Walk(HTMLParser):
    """One walk over a page: hands each element, with its place in the page, to the edits."""

    CDATA_CONTENT_ELEMENTS = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")  # hold text, no tags

    def __init__(self, page: str):
        super().__init__()
        self.page, self.edits = page, _Edits(page)
        self.line_starts = list(accumulate((len(line) + 1 for line in page.split("\n")), initial=0))
        self.open: list[_Element] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        start = self._place()
        end = start + len(self.get_starttag_text())
        is_verbatim = bool(self.open) and self.open[-1].is_verbatim
        element = _Element(tag, dict(reversed(attributes)), start, end, is_verbatim or tag in VERBATIM, len(self.words))
        self.edits.see(element)
        if not is_verbatim:
            self.edits.begin(element, self.open)
        if tag not in WITHOUT_END:
            self.open.append(element)

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
                self.edits.replace(start, start, f"</{element.tag}>")
        self.edits.finish(element, start, end, "".join(self.words[element.words :]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        if self.edits.contents is None and self.page.startswith(CONTENTS, self._place()):
            self.edits.contents = self._place()

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """HTML reads ``<![`` and an unknown word as a comment; some versions of Python raise an error."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _place(self) -> int:
        line, column = self.getpos()
        return self.line_starts[line - 1] + column


class _Edits:
    """What changes in a page, by place. All other text stays as it was written."""

    def __init__(self, page: str):
        self.page = page
        self.changes: list[tuple[int, int, str]] = []  # from, to, new text
        self.ids: set[str] = set()  # of all elements but headings
        self.pictures: dict[tuple, str] = {}  # the id of each picture's first element
        self.counts = {"Figure": 0, "Table": 0}
        self.numbers: dict[str, str] = {}  # by id, such as "Figure 3"
        self.headings: list[tuple[_Element, str]] = []  # with their text
        self.references: list[tuple[_Element, int, int]] = []  # with the place of the end tag
        self.contents: int | None = None

    def replace(self, start: int, end: int, text: str) -> None:
        """Note an edit."""
        self.changes.append((start, end, text))

    def see(self, element: _Element) -> None:
        """Note an element's id."""
        if element.tag not in HEADINGS and element.attributes.get("id"):
            self.ids.add(element.attributes["id"])

    def begin(self, element: _Element, around: list[_Element]) -> None:
        """Edit a start tag, given the elements around it."""
        match element.tag:
            case "pre":
                self._add(element, "tabindex", "0")  # it may scroll, by the keyboard too
            case "img":
                self._add(element, "alt", NO_DESCRIPTION)
            case "image":
                self._embed_once(element)
            case "figure":
                self._number(element)
            case "figcaption":
                self._label(element, around)
            case "span" if _has_class(element, "caption"):
                self._label(element, around)

    def finish(self, element: _Element, start: int, end: int, text: str) -> None:
        """Edit an end tag, which reaches from ``start`` to ``end``; ``text`` is the element's text."""
        if element.is_replaced:
            self.replace(start, end, "</use>")
        elif element.tag in HEADINGS and not element.is_verbatim:
            self.headings.append((element, text.strip()))
        elif element.tag == "a" and (element.attributes.get("href") or "").startswith(("#fig-", "#tbl-")) and not element.is_verbatim:
            self.references.append((element, start, end))

    def _add(self, element: _Element, name: str, value: str) -> None:
        """Add an attribute unless the element has it."""
        if name not in element.attributes:
            place = element.start + 1 + len(element.tag)
            self.replace(place, place, f' {name}="{html.escape(value)}"')

    def _embed_once(self, image: _Element) -> None:
        """Replace an SVG image by a reference to an earlier, equal one: in small test sets several examples show one image."""
        shown = {name: value for name, value in image.attributes.items() if name != "id"}
        name, address = image.attributes.get("id"), shown.get("href") or shown.get("xlink:href") or ""
        if not name or not address.startswith("data:"):
            return
        first = self.pictures.setdefault(tuple(sorted(shown.items())), name)
        if first != name:
            image.is_replaced = True
            ending = "></use>" if self.page.startswith("/>", image.end - 2) else ">"
            self.replace(image.start, image.end, f'<use id="{html.escape(name)}" href="#{html.escape(first)}"{ending}')

    def _number(self, figure: _Element) -> None:
        kind, short = ("Table", "tbl") if _has_class(figure, "table") else ("Figure", "fig")
        self.counts[kind] += 1
        figure.label = f"{kind} {self.counts[kind]}"
        name = f"{short}-{figure.attributes.get('data-key') or self.counts[kind]}"
        if name in self.numbers:
            name += f"-{self.counts[kind]}"
        self.numbers[figure.attributes.get("id") or name] = figure.label
        self._add(figure, "id", name)

    def _label(self, caption: _Element, around: list[_Element]) -> None:
        figure = next((element for element in reversed(around) if element.tag == "figure"), None)
        if figure and figure.label:
            self.replace(caption.end, caption.end, f'<span class="number">{figure.label}.</span> ')
            figure.label = ""

    def applied(self) -> str:
        """The page after all edits."""
        self._refer()
        contents = self._name_headings()
        if self.contents is not None:
            self.replace(self.contents, self.contents + len(CONTENTS), contents)
        pieces, done = [], 0
        for start, end, text in sorted(self.changes, key=itemgetter(0)):
            pieces += self.page[done:start], text
            done = end
        return "".join([*pieces, self.page[done:]])

    def _refer(self) -> None:
        """Add a figure's number to each reference; a reference without a target becomes plain text."""
        for element, start, end in self.references:
            target = element.attributes["href"][1:]
            if target in self.numbers:
                self.replace(start, start, f" ({self.numbers[target]})")
            elif target not in self.ids:
                self.changes += [(element.start, element.end, ""), (start, end, "")]

    def _name_headings(self) -> str:
        """Give each heading a unique id, and return the list of contents as HTML: all headings but the title."""
        taken, items = self.ids | self.numbers.keys(), []
        for element, text in self.headings:
            given = element.attributes.get("id")
            slug = base = given or re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
            number = 1
            while slug in taken:
                number += 1
                slug = f"{base}-{number}"
            taken.add(slug)
            self._add(element, "id", slug)
            if given and slug != given:
                attributes = "".join(f' {name}="{html.escape(value or "")}"' for name, value in (element.attributes | {"id": slug}).items())
                self.replace(element.start, element.end, f"<{element.tag}{attributes}>")
            if element.tag != "h1":
                link = f'<a href="#{html.escape(slug)}">{html.escape(text, quote=False)}</a>'
                items.append(f'<li class="level-{element.tag[1]}">{link}</li>')
        return f"<ol>{''.join(items)}</ol>" if items else ""


def _has_class(element: _Element, name: str) -> bool:
    return name in (element.attributes.get("class") or "").split()
