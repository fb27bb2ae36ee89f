"""Labels for nodes: id, dialect, pairing code and QR code, on A4 sheets, as PDF or SVG.

The QR code holds `FIELDHAND:1:<id>:<pairing code>`: 1 is the version of this form, an id has no
colon, the text is UTF-8. No password is on a label. Equal labels make equal bytes.

Drawn by reportlab, QR codes too; it comes with fieldhand[board].
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand.errors import FieldhandError
from fieldhand.paths import MissingPart
from fieldhand.provisioning import credentials, gitguard

KINDS = (".pdf", ".svg")
_MM = 72 / 25.4  # points
_PAGE_MM = (210.0, 297.0)  # A4
_PAD_MM = 2.0
_QUIET = 4  # modules of white around a QR code, ISO/IEC 18004 section 6.3.8
# Below a third of a millimetre a telephone's camera begins to fail (DENSO WAVE, "Point for setting
# the module size": 0.33 mm is four dots at 300 dpi).
_LEAST_MODULE_MM = 0.33
_FONT, _FONT_BOLD, _FONT_CODE = "Helvetica", "Helvetica-Bold", "Courier-Bold"
_SHEET = re.compile(r"(\d{1,2})x(\d{1,2})")


@dataclass(frozen=True)
class Label:
    """What is on one."""

    node: str
    dialect: str
    code: str

    @property
    def qr(self) -> str:
        return f"FIELDHAND:1:{self.node}:{self.code}"


@dataclass(frozen=True)
class Sheet:
    """A4, `columns` x `rows` equal labels. Margins and the gaps between labels are millimetres."""

    columns: int = 3
    rows: int = 8
    margin_x: float = 0.0
    margin_y: float = 0.0
    gap_x: float = 0.0
    gap_y: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of one label, mm."""
        width, height = _PAGE_MM
        return (
            (width - 2 * self.margin_x - (self.columns - 1) * self.gap_x) / self.columns,
            (height - 2 * self.margin_y - (self.rows - 1) * self.gap_y) / self.rows,
        )

    @property
    def count(self) -> int:
        return self.columns * self.rows

    def place(self, index: int) -> tuple[float, float]:
        """Left and lower edge of label `index` of a page, mm from the page's lower left."""
        row, column = divmod(index, self.columns)
        width, height = self.size
        return (
            self.margin_x + column * (width + self.gap_x),
            _PAGE_MM[1] - self.margin_y - row * (height + self.gap_y) - height,
        )


def sheet(
    text: str, margins: tuple[float, float] = (0, 0), gaps: tuple[float, float] = (0, 0)
) -> Sheet:
    """The sheet that "3x8" (columns x rows) means. Raises FieldhandError."""
    match = _SHEET.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise FieldhandError(f"a sheet of '{text}' labels: write COLUMNSxROWS, such as 3x8")
    found = Sheet(int(match[1]), int(match[2]), *margins, *gaps)
    if min(*margins, *gaps) < 0 or min(found.size) <= 2 * _PAD_MM:
        raise FieldhandError(f"a sheet of {text} labels with these margins leaves no room on A4")
    return found


def targets(path: Path, count: int, of: Sheet) -> list[Path]:
    """The files that `write` makes: a PDF has all pages; SVG has a file for each page.

    Raises FieldhandError for another ending, and when git would see the files: a pairing code is a
    secret.
    """
    if path.suffix.lower() not in KINDS:
        raise FieldhandError(f"{path}: labels are written as {' or '.join(KINDS)}")
    pages = -(-count // of.count)
    found = [path]
    if path.suffix.lower() == ".svg" and pages > 1:
        width = len(str(pages))
        found = [path.with_stem(f"{path.stem}-{page:0{width}}") for page in range(1, pages + 1)]
    for one in found:
        gitguard.refuse_if_seen(one)
    return found


def write(path: Path, labels: Sequence[Label], of: Sheet) -> list[Path]:
    """Write the labels, readable by their owner only; returns the files, see `targets`.

    Raises FieldhandError, of which MissingPart without reportlab.
    """
    files = targets(path, len(labels), of)
    if path.suffix.lower() == ".pdf":
        contents = [_pdf(labels, of)]
    else:
        contents = [_svg(page) for page in _pages(labels, of)]
    for file, content in zip(files, contents, strict=True):
        credentials.write_private(file, content)
    return files


def printable(node: str) -> bool:
    """Whether the fonts that every PDF reader has can write this id: Latin letters."""
    try:
        return node.isprintable() and bool(node.encode("cp1252"))
    except UnicodeEncodeError:
        return False


def _pdf(labels: Sequence[Label], of: Sheet) -> bytes:
    from reportlab.graphics import renderPDF
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    # invariant: neither the time nor a random id is in the file.
    canvas = Canvas(out, pagesize=(_PAGE_MM[0] * _MM, _PAGE_MM[1] * _MM), invariant=1)
    canvas.setTitle("Fieldhand labels")
    for page in _pages(labels, of):
        renderPDF.draw(page, canvas, 0, 0)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _svg(page: Any) -> bytes:
    from reportlab.graphics import renderSVG

    text: str = renderSVG.drawToString(page)
    # reportlab gives the size without a unit, which a browser takes for 1/96 of an inch, and cuts
    # the fractions off the rest: labels would be printed too small.
    head, group, body = text.partition("<clipPath")
    width, height = page.width, page.height
    for wrong, right in (
        (f'width="{width}"', f'width="{_PAGE_MM[0]:g}mm"'),
        (f'height="{height}"', f'height="{_PAGE_MM[1]:g}mm"'),
        (f'viewBox="0 0 {int(width)} {int(height)}"', f'viewBox="0 0 {width} {height}"'),
    ):
        head = head.replace(wrong, right)
    # Helvetica and Courier are on few computers; without a family to fall back on it is a serif.
    body = re.sub(r"font-family: (?!Courier)([^;]+);", r"font-family: \1, sans-serif;", body)
    body = re.sub(r"font-family: (Courier[^;]*);", r"font-family: \1, monospace;", body)
    body = body.replace(f"translate(0,-{int(height)})", f"translate(0,-{height})", 1)
    return (head + group + body).encode("utf-8")


def _pages(labels: Sequence[Label], of: Sheet) -> Iterator[Any]:
    """A reportlab Drawing for each page."""
    try:
        from reportlab.graphics.shapes import Drawing
    except ImportError:
        raise MissingPart("no reportlab: pip install 'fieldhand[board]'") from None
    for first in range(0, len(labels), of.count):
        page = Drawing(_PAGE_MM[0] * _MM, _PAGE_MM[1] * _MM)
        for index, label in enumerate(labels[first : first + of.count]):
            left, bottom = of.place(index)
            _draw(page, label, left, bottom, *of.size)
        yield page


def _draw(page: Any, label: Label, left: float, bottom: float, width: float, height: float) -> None:
    """One label; all in mm. The QR code fills the height, up to half the width."""
    side = min(height - 2 * _PAD_MM, width / 2)
    _draw_qr(page, label, left + _PAD_MM / 2, bottom + (height - side) / 2, side)
    text_left = left + _PAD_MM / 2 + side
    room = (left + width - _PAD_MM - text_left) * _MM
    lines = [
        *_fitted(label.node, _FONT_BOLD, 11, room),
        *_fitted(label.dialect, _FONT, 8, room),
        *_fitted(label.code, _FONT_CODE, 12, room),
    ]
    leading = 1.35
    total = sum(size * leading for _, _, size in lines)
    squeeze = min(1.0, (height - _PAD_MM) * _MM / total)
    y = (bottom + height / 2) * _MM + total * squeeze / 2
    for text, font, size in lines:
        from reportlab.graphics.shapes import String

        y -= size * leading * squeeze
        page.add(String(text_left * _MM, y, text, fontName=font, fontSize=size * squeeze))


def _fitted(text: str, font: str, size: float, room: float) -> list[tuple[str, str, float]]:
    """[(line, font, size)]: smaller down to 60 %, then on several lines."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    if not text:
        return []
    size = max(size * 0.6, min(size, size * room / stringWidth(text, font, size)))
    lines = [""]
    for letter in text:
        if lines[-1] and stringWidth(lines[-1] + letter, font, size) > room + 0.01:
            lines.append("")
        lines[-1] += letter
    return [(line, font, size) for line in lines]


def _draw_qr(page: Any, label: Label, left: float, bottom: float, side: float) -> None:
    from reportlab.graphics.barcode import qrencoder
    from reportlab.graphics.shapes import Path as Shape
    from reportlab.lib.colors import black

    # 15 % of a label may be scratched or wet: level M.
    code = qrencoder.QRCode(None, qrencoder.QRErrorCorrectLevel.M)
    # As bytes whatever they are: its other modes are chosen by content and shorter by little.
    code.addData(qrencoder.QR8bitByte(label.qr))
    code.make()
    module = side / (code.getModuleCount() + 2 * _QUIET)
    if module < _LEAST_MODULE_MM:
        raise FieldhandError(
            f"the QR code of '{label.node}' would have squares of {module:.2f} mm, too small for a "
            f"telephone ({_LEAST_MODULE_MM} mm): take larger labels"
        )
    # One path for all: 400 rectangles a label would take minutes for a thousand.
    shape = Shape(fillColor=black, strokeColor=None, strokeWidth=0)
    unit = module * _MM
    for row, line in enumerate(code.modules):
        y = bottom * _MM + (code.getModuleCount() + _QUIET - row - 1) * unit
        for start, end in _runs(line):
            x = (left + _QUIET * module) * _MM
            shape.moveTo(x + start * unit, y)
            shape.lineTo(x + end * unit, y)
            shape.lineTo(x + end * unit, y + unit)
            shape.lineTo(x + start * unit, y + unit)
            shape.closePath()
    page.add(shape)


def _runs(line: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """(first, one past the last) of each row of dark modules."""
    start = None
    for at, dark in enumerate([*line, False]):
        if dark and start is None:
            start = at
        elif not dark and start is not None:
            yield start, at
            start = None
