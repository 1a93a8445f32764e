"""The last step of a page, on HTML of all kinds that notebooks print."""

import re

import pytest

from crack_utils.reporting.exporter import themed
from crack_utils.reporting.page_html import finish


def finished(body):
    """The contents and the body of a page after its last step."""
    page = finish(f"<nav><!-- contents --></nav><main>{body}</main>")
    contents, body = re.fullmatch(r"<nav>(.*?)</nav><main>(.*)</main>", page, re.DOTALL).groups()
    return contents, body


@pytest.mark.parametrize(
    "body",
    [
        "a < b, a <1, a & b > c &nbsp; &notit; &amp;lt; \u2028 \r\n",
        "<p>one<p>two<ul><li>a<li>b</ul><table><tr><td>1<td>2</table>",
        "<!-- <h2>no</h2> <pre> <figure> --><!-- contents -->",
        '<script>if (a < b) { x = "<h2>no</h2><pre>" }</script>',
        "<style>h2 > p { color: red } /* <pre> </div> */</style>",
        """<div title='<h2>no</h2>' data-x="a > b <pre>" data-y=c>text</div>""",
        "<textarea><h2>no</h2> <b></textarea>",
        '<pre tabindex="0"><h2>no</h2> <a href="#fig-none">link</a> <figure></figure></pre>',
        "<template><h2>no</h2><pre></pre></template>",
        """<svg viewBox="0 0 1 1"><linearGradient id='g'/><path d="M 0 0"/><title>t</title></svg>""",
        '<a href="#elsewhere">a link</a> <a name=x>an anchor</a>',
        "a <![odd> b <![if !IE]> c <![endif]> d <?php echo 1 ?> e <! f> g </ h>",
        "<DIV CLASS=x>text</DIV><IMG ALT='' SRC=x><br/><input disabled>",
        "<h4>small</h4>",
        "</b>an end without a beginning</section>",
        '<image href="#x"/><image/><span class="caption">no figure</span>',
        "<h2",
    ],
)
def test_what_needs_no_edit_stays_byte_for_byte(body):
    assert finished(body) == ("", body)


def test_headings_are_read_with_their_attributes_entities_and_elements():
    contents, body = finished("""<h2\n title='a > b' data-id="other">A &lt; <em>b</em> &amp; c</h2><H3 id=Kept>D</H3>""")
    assert (
        contents == '<ol><li class="level-2"><a href="#a-b-c">A &lt; b &amp; c</a></li><li class="level-3"><a href="#Kept">D</a></li></ol>'
    )
    assert body == """<h2 id="a-b-c"\n title='a > b' data-id="other">A &lt; <em>b</em> &amp; c</h2><H3 id=Kept>D</H3>"""


def test_a_heading_takes_no_id_that_another_element_has():
    contents, body = finished(
        """<h2 id="loss">A</h2><h2>Loss</h2><h2 id='loss' title='"'>B</h2><p id="end"></p><h2>End</h2>"""
        """<figure data-key="x"></figure><h2>Fig x</h2>"""
    )
    assert re.findall(r'href="#([^"]+)"', contents) == ["loss", "loss-2", "loss-3", "end-2", "fig-x-2"]
    assert re.findall(r'id="([^"]+)"', body) == ["loss", "loss-2", "loss-3", "end", "end-2", "fig-x", "fig-x-2"]
    assert '<h2 title="&quot;" id="loss-3">B</h2>' in body


def test_an_element_left_open_ends_with_what_it_stands_in():
    contents, body = finished("<div><h2>Open <b>bold</div><div><table><tr><td>1</div><div><pre><i>2</div><h2>Next</h2>")
    assert contents.count("<li") == 1 and "Next" in contents
    assert body.startswith("<div><h2>Open <b>bold</b></h2></div><div><table><tr><td>1</table></div>")
    assert body.endswith('<div><pre tabindex="0"><i>2</i></pre></div><h2 id="next">Next</h2>')


def test_each_caption_gets_the_number_of_its_own_figure():
    number = '<span class="number">'
    _, body = finished(
        "<figure class='wide table' data-key='a>b'><figcaption class=x>T</figcaption><figcaption>again</figcaption></figure>"
        "<figure><figure id=own><figcaption>In</figcaption></figure><figcaption>Out</figcaption></figure><figcaption>none</figcaption>"
    )
    assert body == (
        f"""<figure id="tbl-a&gt;b" class='wide table' data-key='a>b'><figcaption class=x>{number}Table 1.</span> T</figcaption>"""
        f'<figcaption>again</figcaption></figure><figure id="fig-1"><figure id=own><figcaption>{number}Figure 2.</span> In</figcaption>'
        f"</figure><figcaption>{number}Figure 1.</span> Out</figcaption></figure><figcaption>none</figcaption>"
    )


def test_references_name_their_figure_in_whatever_way_they_are_written():
    _, body = finished(
        """<a href='#fig-x'>one</a>, <a class="c" title="a>b" href=#fig-x><b>two</b></a>, <a href="#fig-none">three</a>, """
        """<a href="#fig-other">four</a><figure data-key="x"></figure><div id="fig-other"></div>"""
    )
    assert body.startswith(
        """<a href='#fig-x'>one (Figure 1)</a>, <a class="c" title="a>b" href=#fig-x><b>two</b> (Figure 1)</a>, three, """
        """<a href="#fig-other">four</a>"""
    )


def test_only_equal_pictures_share_their_data():
    def image(name, rest, data="data:image/png;base64,AA=="):
        return f'<image id="{name}" href="{data}" {rest}'

    shown = [
        image("a", 'width="9"/>'),
        image("b", "width='9'/>"),
        image("c", "width=9><title>c</title></image>"),
        image("d", 'width="8"/>'),  # in another size
        image("e", 'width="9"/>', "data:image/png;base64,BB=="),
        image("f", 'width="9"/>', "picture.png"),
        image("g", 'width="9"/>', "picture.png"),
    ]
    _, body = finished(f"<svg>{''.join(shown)}</svg>")
    shown[1:3] = ['<use id="b" href="#a"></use>', '<use id="c" href="#a"><title>c</title></use>']
    assert body == f"<svg>{''.join(shown)}</svg>"


def test_boxes_that_scroll_take_the_keyboard_and_pictures_have_a_description():
    _, body = finished("<pre class='a>b'>1</pre><img src=x>")
    assert body == """<pre tabindex="0" class='a>b'>1</pre><img alt="No description has been provided for this image" src=x>"""


def test_a_plot_is_themed_in_its_attributes_alone():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt" viewBox="0 0 9 9">'
        '<defs><clipPath id="p1"><rect width="4" height="4"/></clipPath></defs>'
        """<g clip-path="url(#p1)" style='fill: #0072b2; stroke: #123456'><use xlink:href="#p1"/></g>"""
        '<text>id="x" &lt; #0072b2</text></svg>'
    )
    assert themed(svg, 2) == (
        '<svg viewBox="0 0 9 9"><defs><clipPath id="f2-p1"><rect width="4" height="4" /></clipPath></defs>'
        '<g clip-path="url(#f2-p1)" style="fill: var(--plot-blue, #0072b2); stroke: #123456"><use xlink:href="#f2-p1" /></g>'
        '<text>id="x" &lt; #0072b2</text></svg>'
    )
    assert themed("<svg><path>", 2) == "<svg><path>"
