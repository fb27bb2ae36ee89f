"""Labels: what is printed is what was meant, read back from pixels by decoders of others."""

import io
import re
import stat
import subprocess
from pathlib import Path

import pypdfium2
import pytest
import resvg_py
import zxingcpp
from PIL import Image

from fieldhand.errors import FieldhandError
from fieldhand.provisioning import labels, pairing

CODES = [pairing.make() for _ in range(60)]


def some(count: int, name: str = "greenhouse-{:04}") -> list[labels.Label]:
    return [labels.Label(name.format(i), "plantnanny", CODES[i]) for i in range(count)]


def pdf_pages(path: Path, dpi: int = 150) -> list[Image.Image]:
    document = pypdfium2.PdfDocument(path)
    return [page.render(scale=dpi / 72).to_pil() for page in document]


def svg_page(path: Path, dpi: int = 150) -> Image.Image:
    """At CSS's 96 pixels an inch a millimetre is what the file says it is."""
    data = resvg_py.svg_to_bytes(svg_path=str(path), dpi=96, zoom=dpi / 96)
    image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def decoded(image: Image.Image) -> dict[str, tuple[int, int]]:
    """Text -> left and upper corner, px, of the QR codes that are found."""
    return {
        found.text: (found.position.top_left.x, found.position.top_left.y)
        for found in zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormat.QRCode)
    }


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_every_code_of_every_sheet_reads_back(tmp_path: Path, kind: str) -> None:
    wanted = some(30)
    files = labels.write(tmp_path / f"l.{kind}", wanted, labels.sheet("3x8"))
    if kind == "pdf":
        assert files == [tmp_path / "l.pdf"]
        pages = pdf_pages(files[0])
    else:
        assert files == [tmp_path / "l-1.svg", tmp_path / "l-2.svg"]
        pages = [svg_page(file) for file in files]
    assert [len(decoded(page)) for page in pages] == [24, 6]
    read = decoded(pages[0]) | decoded(pages[1])
    assert set(read) == {f"FIELDHAND:1:greenhouse-{i:04}:{CODES[i]}" for i in range(30)}
    for page in pages:  # A4 at 150 dpi: 210 mm and 297 mm
        assert abs(page.width - 1240) <= 1 and abs(page.height - 1754) <= 1
        assert page.getpixel((0, 0)) == page.getpixel((1239, 1753)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_labels_lie_where_the_sheet_has_them(tmp_path: Path, kind: str) -> None:
    # 3 x 7 of 63.5 x 38.1 mm, 7.25 and 15.15 mm of margin, 2.5 mm between columns: the widespread
    # address label. The pitch is 66 mm across and 38.1 mm down.
    on = labels.sheet("3x7", (7.25, 15.15), (2.5, 0))
    assert on.size == pytest.approx((63.5, 38.1), abs=0.01)
    (file,) = labels.write(tmp_path / f"l.{kind}", some(21), on)
    page = pdf_pages(file)[0] if kind == "pdf" else svg_page(file)
    read = decoded(page)
    assert len(read) == 21
    millimetre = 150 / 25.4
    at = [read[label.qr] for label in some(21)]
    for index, (x, y) in enumerate(at):
        row, column = divmod(index, 3)
        assert x - at[0][0] == pytest.approx(column * 66 * millimetre, abs=2)
        assert y - at[0][1] == pytest.approx(row * 38.1 * millimetre, abs=2)
    # On its label with at least the four modules of white that a reader needs; 46 bytes at level M
    # are version 4 (ISO/IEC 18004 table 7: 62), 33 modules, and 8 of white.
    x, y = at[0][0] / millimetre - 7.25, at[0][1] / millimetre - 15.15
    module = min(38.1 - 4, 63.5 / 2) / (33 + 8)
    assert x >= 4 * module and y >= 4 * module


def test_the_text_is_there_for_people(tmp_path: Path) -> None:
    long = "a-very-long-name-of-a-node-in-a-far-corner-of-the-field-0001"
    wanted = [labels.Label("tank-ä", "dese", CODES[0]), labels.Label(long, "farm", CODES[1])]
    (file,) = labels.write(tmp_path / "l.pdf", wanted, labels.sheet("3x8"))
    text = pypdfium2.PdfDocument(file)[0].get_textpage().get_text_range()
    for word in ("tank-ä", "dese", CODES[0], CODES[1]):
        assert word in text
    assert long in re.sub(r"\s", "", text)  # on several lines
    page = pypdfium2.PdfDocument(file)[0]
    for thing in page.get_objects():  # nothing sticks out of its label: two of 70 mm
        left, _, right, _ = thing.get_bounds()
        column = int(left / (70 * 72 / 25.4))
        assert right <= (column + 1) * 70 * 72 / 25.4, (left, right)
    assert set(decoded(pdf_pages(file)[0])) == {label.qr for label in wanted}


def test_equal_labels_make_equal_bytes(tmp_path: Path) -> None:
    for kind in ("pdf", "svg"):
        first, second = tmp_path / f"1.{kind}", tmp_path / f"2.{kind}"
        for path in (first, second):
            labels.write(path, some(3), labels.sheet("3x8"))
        assert first.read_bytes() == second.read_bytes()
        assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_what_a_telephone_could_not_read_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(FieldhandError, match=r"squares of 0\.\d+ mm.*larger labels"):
        labels.write(tmp_path / "l.pdf", some(1), labels.sheet("7x27"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "3", "3x", "0x8", "3x0", "x", "-3x8", "3x8x2", "99x99"])
def test_a_wrong_sheet_is_refused(text: str) -> None:
    with pytest.raises(FieldhandError, match="sheet"):
        labels.sheet(text)


def test_margins_larger_than_the_page_are_refused() -> None:
    with pytest.raises(FieldhandError, match="no room on A4"):
        labels.sheet("3x8", (100, 15))


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldhandError, match=r"\.pdf or \.svg"):
        labels.write(tmp_path / "l.png", some(1), labels.sheet("3x8"))


def test_pairing_codes_go_into_no_file_that_git_sees(tmp_path: Path) -> None:
    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(FieldhandError, match="git sees it"):
        labels.write(tmp_path / "l.pdf", some(1), labels.sheet("3x8"))
    assert not (tmp_path / "l.pdf").exists()


def test_a_browser_without_the_fonts_has_a_family_to_fall_back_on(tmp_path: Path) -> None:
    (file,) = labels.write(tmp_path / "l.svg", some(1), labels.sheet("3x8"))
    families = re.findall(r"font-family: ([^;]+);", file.read_text())
    assert families and file.read_text().count("font-family") == len(families)
    assert {family.rpartition(", ")[2] for family in families} == {"sans-serif", "monospace"}
