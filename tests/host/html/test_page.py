"""What pages are made of: drawn where the figures are, escaped, and in need of nothing from outside."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgetl.html.charts import Bar, Bars, LineChart, Point, Scatter, Series, nice_ticks
from edgetl.html.matrix import Heatmap
from edgetl.html.page import Columns, Figure, KeyFigures, Section, Table, Text, page
from edgetl.html.pictures import Picture, Pictures

EVIL = '<script>alert("1 & 2")</script>'
VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}


class _Tree(HTMLParser):
    """Collects tags and texts; fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    def all(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def _chart(**changes):
    fields = {
        "caption": "accuracy",
        "x_label": "labels",
        "y_label": "%",
        "series": [
            Series("device", [(0, 43.0), (1, 58.0), (5, 83.0), (10, 90.0)], [(25, 73), (40, 80), (78, 92), (84, 95)]),
            Series("alone", [(1, 74.0), (5, 88.0), (10, 89.8)]),
            Series("oracle", [(10, 97.4)]),
        ],
        "x_ticks": (0, 1, 5, 10),
    }
    return LineChart(**{**fields, **changes})


def _everything(text):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    line = Series(text, [(0, 1.0), (1, 2.0)])
    return page(
        text,
        text,
        [
            Section(
                text,
                text,
                [
                    Text([text]),
                    KeyFigures([Figure(text, text, text)]),
                    Table(text, [text, "n"], [[text, 1.0]]),
                    Pictures(text, [Picture(pixels, text)]),
                    Columns([Bars(text, [Bar(text, 1.0, text)])]),
                    _chart(caption=text, x_label=text, y_label=text, series=[line], unit=text),
                    Heatmap(text, [text, "b"], [[1, 2], [0, 3]], text, text),
                ],
            )
        ],
        text,
    )


def test_a_page_is_well_formed_and_whatever_text_it_gets_stays_text():
    tree = _Tree(_everything(EVIL))
    assert tree.all("script") == []
    assert sum(EVIL in text for text in tree.texts) > 15


def test_a_page_needs_nothing_from_outside():
    html = _everything("plain")
    tree = _Tree(html)
    assert tree.all("link") == [] and tree.all("iframe") == []
    assert not re.search(r"https?:|url\(|@import", html)
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in tree.all("img"))


def test_a_page_suits_phones_and_the_dark():
    html = _everything("plain")
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in html
    assert "prefers-color-scheme: dark" in html and "max-width: 640px" in html


def test_pictures_are_the_very_pixels():
    for shape in ((8, 8), (5, 7, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        source = _Tree(Pictures("", [Picture(pixels)]).html()).all("img")[0]["src"]
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_numbers_are_rounded_and_stand_to_the_right():
    html = Table("", ["what", "value", "count"], [["a", 1.26, 3], ["b", 20.04, 4]], strong=[1]).html()
    assert "<td class=n>1.3</td><td class=n>3</td>" in html and "<th>what</th><th class=n>value</th>" in html
    assert "<tr class=strong><td>b</td><td class=n>20.0</td>" in html


def test_a_line_is_drawn_where_its_values_are():
    tree = _Tree(_chart().html())
    wide, narrow = [a["viewbox"] for a in tree.all("svg") if a.get("role") == "img"]
    assert (wide, narrow) == ("0 0 900 430", "0 0 360 300")
    for box, line in zip((wide, narrow), tree.all("polyline", **{"class": "line s0"}), strict=True):
        points = np.array([[float(v) for v in pair.split(",")] for pair in line["points"].split()])
        # Straight scales: equal steps in value are equal steps on the page, upwards for larger values.
        np.testing.assert_allclose(np.diff(points[:, 0]) / np.diff([0, 1, 5, 10]), np.ptp(points[:, 0]) / 10, atol=0.2)
        slopes = np.diff(points[:, 1]) / np.diff([43, 58, 83, 90])
        assert (slopes < 0).all() and np.ptp(slopes) < 0.05
        width, height = (float(v) for v in box.split()[2:])
        assert (points >= 0).all() and (points < [width, height]).all()


def test_names_of_lines_that_end_close_together_do_not_overlap():
    series = [Series(f"line {i}", [(0, 0.0), (1, 90 + i / 100)]) for i in range(6)]
    names = [a for a in _Tree(_chart(series=series, x_ticks=()).html()).all("text") if a["class"] == "name"]
    heights = sorted(float(a["y"]) for a in names)
    assert len(heights) == 6 and min(np.diff(heights)) >= 17.9
    assert min(heights) > 0 and max(heights) < 430


def test_every_line_has_its_value_in_both_drawings():
    tree = _Tree(_chart().html())
    for value, name in (("90.0", "device"), ("89.8", "alone"), ("97.4", "oracle")):
        assert tree.texts.count(value) == 2 and tree.texts.count(name) == 2


def test_points_stand_where_their_figures_say():
    points = [Point("slow and right", 8.0, 90.0, (85.0, 95.0), "a"), Point("quick", 2.0, 60.0, (50.0, 70.0), "b")]
    text = Scatter("c", "ms", "%", points).html()
    wide = text[text.index('class="wide"') : text.index('class="narrow"')]
    circle = re.search(r'<circle [^>]*cx="([\d.]+)" cy="([\d.]+)"', wide)
    square = re.search(r'<rect class="mark[^>]*x="([\d.]+)" y="([\d.]+)"', wide)
    assert circle and square
    assert float(circle[1]) > float(square[1]) + 300 and float(circle[2]) < float(square[2]) - 100
    assert text.count("slow and right") == 3 and "1. slow and right" in text


def test_a_confusion_matrix_writes_every_count_once_and_shades_by_share():
    counts = [[8, 2, 0], [0, 5, 0], [1, 0, 99]]
    tree = _Tree(Heatmap("", ["a", "b", "c"], counts).html())
    cells = [a for a in tree.all("rect") if a["class"] in ("right", "wrong")]
    shown = [text for text in tree.texts if text.isdigit()]
    assert sorted(map(int, shown)) == [1, 2, 5, 8, 99]
    expected = [0.1 + 0.9 * math.sqrt(share) for share in (0.8, 0.2, 1.0, 0.01, 0.99)]
    np.testing.assert_allclose([float(a["fill-opacity"]) for a in cells], expected, atol=0.006)
    assert [a["class"] for a in cells] == ["right", "wrong", "right", "wrong", "right"]
    assert "a: 2 of 10 said to be b" in tree.texts


def test_a_matrix_of_many_classes_keeps_its_names_and_stays_small():
    names = [f"Vegetables/Kind number {i}" for i in range(50)]
    counts = (np.eye(50, dtype=int) * 20 + np.random.default_rng(0).integers(0, 2, (50, 50))).tolist()
    html = Heatmap("", names, counts).html()
    assert _Tree(html).texts.count("Kind number 49") == 2
    assert len(html) < 1_000_000
    same_ends = Heatmap("", ["red/a", "blue/a"], [[1, 0], [0, 1]]).html()
    assert _Tree(same_ends).texts.count("red/a") == _Tree(same_ends).texts.count("blue/a") == 2


def test_bars_are_to_one_scale():
    html = Bars("", [Bar("a", 1.0, "1 ms"), Bar("b", 4.0, "4 ms", 1)]).html()
    assert [float(v) for v in re.findall(r"width:([\d.]+)%", html)] == [25.0, 100.0]
    assert _Tree(Bars("", [Bar("nothing", 0.0, "0")]).html()).texts == ["nothing", "0"]


@given(
    low=st.floats(-1e6, 1e6, allow_nan=False),
    span=st.floats(0, 1e6, allow_nan=False),
    count=st.integers(2, 9),
)
def test_ticks_enclose_the_values_evenly_and_are_few(low, span, count):
    if 0 < span < 1e-6 * abs(low):
        span = 0.0
    ticks = nice_ticks(low, low + span, count)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)
    assert 2 <= len(ticks) <= 2 * count + 2


def test_a_drawing_alone_is_a_whole_file_that_needs_nothing():
    text = LineChart(EVIL, "labels", "% right", [Series(EVIL, [(0, 40.0), (10, 93.5)], [(30, 50), (90, 95)])]).svg()
    root = ElementTree.fromstring(text)  # well-formed, and in the namespace by which a browser knows a drawing
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in text
    assert "url(" not in text
    assert "href" not in text
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))
    assert f"93.5  {EVIL}" in "".join(root.itertext())
