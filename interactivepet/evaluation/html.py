"""A report as one self-contained web page: tables, pictures and how the masks came about."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from interactivepet.core.report import CaseScores, LabelScores, LesionFreeSummary, Report, Summary
from interactivepet.evaluation.summarise import METRICS, mean_dice_of

__all__ = ["HEADINGS", "NOTICE", "describe_lesion_free", "render_page", "render_report"]

NOTICE = "Research software, not a medical device."

HEADINGS = {
    "dice": "Dice",
    "hausdorff95_mm": "Hausdorff 95 % (mm)",
    "surface_distance_mm": "Surface distance (mm)",
    "volume_ml": "Volume (ml)",
    "reference_volume_ml": "Reference (ml)",
    "false_positive_ml": "False positive (ml)",
    "false_negative_ml": "False negative (ml)",
}
"""Field of `LabelScores` -> how people call it."""

DEFINITIONS = """
<p class="note">Hausdorff 95 %: the larger of the two directed 95th percentiles of the distances between
surface voxels. Surface distance: the mean of those distances in both directions. False positive and false
negative: volume of the components without any overlap. A dash stands for a metric that is not defined,
because mask or reference (for Dice: the reference) is empty. Std is the standard deviation over the
cases.</p>
"""

STYLE = """
:root { color-scheme: light; --ink: #1c2330; --soft: #5c6675; --line: #dfe3e9; --fill: #f5f7fa;
  --bar: #b9dcc6; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  max-width: 76rem; margin: 2rem auto; padding: 0 1.2rem; background: #fff; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
.task { color: var(--soft); margin: .1rem 0 1rem; }
.headline { font-size: 1.1rem; } .headline b { font-size: 1.6rem; }
.notice { border-left: 4px solid #d98300; background: #fff7e8; padding: .6rem .9rem; margin: 1rem 0; }
.note, footer { color: var(--soft); font-size: .87rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .32rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { background: var(--fill); vertical-align: bottom; } th.text, td.text { text-align: left; }
tr.first td { border-top: 1px solid #aab2bf; }
td.bar { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)); }
figure { margin: 0 0 1.6rem; padding-top: .8rem; border-top: 1px solid var(--line); break-inside: avoid; }
figure img { max-width: 100%; height: auto; display: block; }
a { color: #0a5bd0; text-decoration: none; } a:hover { text-decoration: underline; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } a { color: inherit; }
  td.bar, th, .notice { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr { break-inside: avoid; } }
"""


MOST_PICTURES = 100
"""A page with more would be too large for a browser: a whole body's picture has 0.1 MB."""


def render_report(report: Report, *, pictures: Mapping[str, bytes]) -> str:
    """Render a report as HTML that needs no other file and no script.

    Args:
        report: the scores; the table lists the cases from the worst mean Dice to the best, and those without
            any defined Dice last.
        pictures: case -> PNG file's bytes; a case may have none.

    Returns:
        The page's text.
    """
    cases = sorted(report.cases, key=_badness)
    anchors = {case.case: f"case-{number}" for number, case in enumerate(cases, start=1)}
    worst = [case.case for case in cases if case.case in pictures][:MOST_PICTURES]
    shown = {case: pictures[case] for case in worst}
    left_out = (
        f"<p>The {len(shown)} worst of {len(pictures)} cases are shown.</p>" if len(shown) < len(pictures) else ""
    )
    body = [
        _render_head(report),
        "<h2>Summary</h2>",
        _render_summary(report.summary),
        DEFINITIONS,
        "<h2>Cases, worst first</h2>",
        _render_cases(cases, {case: anchors[case] for case in shown}),
        "<h2>Pictures</h2>" if shown else "",
        left_out,
        *(_render_picture(case, png, anchor=anchors[case]) for case, png in shown.items()),
        _render_foot(report),
    ]
    return render_page(report.title, body)


def render_page(title: str, body: Sequence[str]) -> str:
    """Put the parts of a page's body, already HTML, into a self-contained page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _badness(case: CaseScores) -> tuple[bool, float, str]:
    """Order cases from the worst to the best, the undefined ones last, ties by name."""
    dice = mean_dice_of(case)
    return (dice is None, dice or 0.0, case.case)


def _render_head(report: Report) -> str:
    """Render title, headline figure, provenance and notice."""
    mean = "not defined" if report.mean_dice is None else f"{report.mean_dice:.3f}"
    n = sum(mean_dice_of(case) is not None for case in report.cases)
    return (
        f'<h1>{escape(report.title)}</h1>\n<p class="task">{escape(report.task)}</p>\n'
        f'<p class="headline">Mean Dice <b>{mean}</b> over {n} of {len(report.cases)} cases</p>\n'
        f"{_render_lesion_free(report.lesion_free)}<p>{escape(report.provenance)}</p>\n"
        f'<p class="notice"><b>{NOTICE}</b></p>'
    )


def _render_lesion_free(summary: LesionFreeSummary | None) -> str:
    """Render what happened where nothing should be found."""
    if summary is None:
        return ""
    return f"<p>{escape(describe_lesion_free(summary))}</p>\n"


def describe_lesion_free(summary: LesionFreeSummary) -> str:
    """Say in one sentence how many lesion-free cases were left empty, and what was found in the others."""
    return (
        f"Cases without any label: {summary.n_rightly_empty} of {summary.n} masks are rightly empty; false positives "
        f"{summary.mean_false_positive_ml:.2f} ml on average, {summary.maximum_false_positive_ml:.2f} ml at most."
    )


def _render_summary(rows: tuple[Summary, ...]) -> str:
    """Render one row a label and metric."""
    head = _render_header(("Label", "Metric"), ("n", "Mean", "Std", "Median", "Minimum", "Maximum"))
    body = []
    for previous, row in zip((None, *rows), rows, strict=False):
        is_first = previous is None or previous.label != row.label
        values = (row.mean, row.std, row.median, row.minimum, row.maximum)
        cells = [
            _text_cell(row.label if is_first else ""),
            _text_cell(HEADINGS[row.metric]),
            f"<td>{row.n}</td>",
        ]
        cells += [f"<td>{_format(value, row.metric)}</td>" for value in values]
        body.append(_render_row(cells, is_first=is_first))
    return _render_table(head, body)


def _render_cases(cases: list[CaseScores], anchors: Mapping[str, str]) -> str:
    """Render one row a case and label; a case with a picture links to it."""
    head = _render_header(("Case", "Label"), ("Clicks", *(HEADINGS[metric] for metric in METRICS)))
    body = []
    for case in cases:
        name = escape(case.case)
        link = f'<a href="#{anchors[case.case]}">{name}</a>' if case.case in anchors else name
        for number, label in enumerate(case.labels):
            first = [f'<td class="text">{"" if number else link}</td>', _text_cell(label.label)]
            clicks = f"<td>{'' if number else case.n_clicks}</td>"
            body.append(_render_row([*first, clicks, *_render_scores(label)], is_first=number == 0))
    return _render_table(head, body)


def _render_scores(label: LabelScores) -> list[str]:
    """Render the cells of one label's metrics; Dice has a bar behind it."""
    values = label.model_dump()
    cells = [f"<td>{_format(values[metric], metric)}</td>" for metric in METRICS[1:]]
    share = f' class="bar" style="--share:{100 * label.dice:.0f}%"' if label.dice is not None else ""
    return [f"<td{share}>{_format(label.dice, 'dice')}</td>", *cells]


def _render_picture(case: str, png: bytes, *, anchor: str) -> str:
    """Render a case's picture with its bytes inside the page."""
    data = b64encode(png).decode()
    name = escape(case)
    return (
        f'<figure id="{anchor}"><h3>{name}</h3>'
        f'<img alt="Slices of {name} with outlines" src="data:image/png;base64,{data}"></figure>'
    )


def _render_foot(report: Report) -> str:
    """Render what the page was made by and from."""
    origin = f" from {escape(report.made_from)}" if report.made_from else ""
    return f"<footer>Made by interactivepet {escape(report.package_version)}{origin}. {NOTICE}</footer>"


def _render_header(texts: tuple[str, ...], numbers: tuple[str, ...]) -> str:
    """Render the header row of a table."""
    cells = [f'<th class="text" scope="col">{escape(text)}</th>' for text in texts]
    return "".join([*cells, *(f'<th scope="col">{escape(number)}</th>' for number in numbers)])


def _render_row(cells: list[str], *, is_first: bool) -> str:
    """Render a row; the first one of a group is set off."""
    start = '<tr class="first">' if is_first else "<tr>"
    return f"{start}{''.join(cells)}</tr>"


def _render_table(head: str, body: list[str]) -> str:
    """Render a table that scrolls on a narrow screen."""
    rows = "\n".join(body)
    start, end = '<div class="scroll"><table>', "</table></div>"
    return f"{start}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>{end}"


def _text_cell(text: str) -> str:
    """Render a cell of text."""
    return f'<td class="text">{escape(text)}</td>'


def _format(value: float | None, metric: str) -> str:
    """Write in HTML a number with the digits that its metric deserves, and a dash for none."""
    if value is None:
        return "&ndash;"
    return f"{value:.3f}" if metric == "dice" else f"{value:.2f}"
