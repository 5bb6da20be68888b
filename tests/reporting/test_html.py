import base64

from mspn.reporting import (
    Block,
    Details,
    Figure,
    Figures,
    Jpeg,
    Note,
    Page,
    Section,
    Table,
    Tile,
    render_page,
)

HOSTILE = '<script src="x">&'
ESCAPED = "&lt;script src=&#34;x&#34;&gt;&amp;"


def _render(*blocks: Block) -> str:
    return render_page(Page("title", "heading", "note", [Section("section", blocks)]))


def test_all_text_is_escaped():
    blocks: list[Block] = [
        Note(HOSTILE),
        Table([HOSTILE], [[HOSTILE]]),
        Details(HOSTILE, Table([HOSTILE], [[HOSTILE]])),
        Jpeg(HOSTILE, b""),
        Figures([Figure(HOSTILE, HOSTILE, "<svg></svg>", [HOSTILE, HOSTILE])]),
    ]
    tiles = [Tile(HOSTILE, HOSTILE, HOSTILE)]

    page = render_page(Page(HOSTILE, HOSTILE, HOSTILE, [Section(HOSTILE, blocks)], tiles))

    assert "<script" not in page
    # 3 of the page, 3 of the tile, the section, then 1 + 2 + 3 + 1 + 4 of the blocks.
    assert page.count(ESCAPED) == 18


def test_a_chart_is_embedded_as_it_is():
    page = _render(Figures([Figure("title", "last", '<svg viewBox="0 0 1 1"></svg>')]))

    assert '<small>last</small></figcaption><svg viewBox="0 0 1 1"></svg></figure>' in page


def test_only_several_lines_have_a_legend():
    single = _render(Figures([Figure("title", "last", "<svg></svg>", ["a"])]))
    several = _render(Figures([Figure("title", "last", "<svg></svg>", ["a", "b"])]))

    assert '<div class="legend">' not in single
    assert '<span><i class="line-0"></i>a</span><span><i class="line-1"></i>b</span>' in several


def test_an_image_is_a_data_address():
    assert f'src="data:image/jpeg;base64,{base64.b64encode(b"pixels").decode()}"' in _render(Jpeg("", b"pixels"))


def test_a_table_keeps_its_rows_in_order():
    page = _render(Table(["a", "b"], [["1", "2"], ["3", "4"]]))

    assert "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr>" in page
