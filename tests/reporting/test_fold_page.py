from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from interactivepet.core.checkpoint import Pretraining
from interactivepet.reporting.fold_page import describe_duration, describe_plan, render_fold
from interactivepet.reporting.html import NOTICE
from tests.reporting.examples import TRANSFORMER, make_card, make_plan


def render(**changes: object) -> str:
    given: dict[str, object] = {"n_clicks": {"good": 6, "bad & <i>": 12}, "curves": b"curves", "pictures": {}}
    return render_fold(make_card(), make_plan(), **(given | changes))  # type: ignore[arg-type]


class Checker(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img"}:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_escaped_and_says_what_was_done() -> None:
    page = render()
    checked = Checker(page)
    assert checked.opened == []
    for shown in (
        "Task<1>, 3d_fullres, fold 2",
        "Mean Dice out of fold 0.600 without clicks, 0.650 with clicks, over 3 cases",
        "plain U-Net of 2 stages, 32 to 64 features; patches of 32 x 32 x 32 voxels of 4.07 x 4.07 x 3 mm, 2 a batch",
        "Card 9000",
        "30 s for 3 epochs",
        "5 (median of the epochs)",
        "10.0% of the training time",
        "1.50 GB at the peak",
        "decided by <owner>",
        NOTICE,
    ):
        assert shown in checked.text, shown


def test_the_page_says_what_training_started_from_and_on_how_many_patients() -> None:
    start = Pretraining(name="<lesion>", share=0.9, licence="MIT")
    card = make_card().model_copy(update={"pretrained": start, "patients": 5})
    text = Checker(render_fold(card, make_plan(), n_clicks={}, curves=b"c", pictures={})).text
    assert "90% are those of <lesion>" in text
    assert "for training (of 5 patients only)" in text


def test_cases_are_sorted_from_the_worst_dice_with_clicks() -> None:
    rows = re.findall(r'<tr><td class="text">(.*?)</td><td>(\d+)</td>.*?<td>([+-][\d.]+)</td></tr>', render())
    assert rows == [("bad &amp; &lt;i&gt;", "12", "-0.050"), ("middle", "0", "+0.100"), ("good", "6", "+0.100")]


def test_the_page_needs_no_other_file() -> None:
    page = render(pictures={"bad & <i>": b"first", "middle": b"second"})
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [b64decode(text) for text in data] == [b"curves", b"first", b"second"]
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "Pictures of the worst" in page
    assert "Pictures of the worst" not in render()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (59.6, "1 min 00 s"), (750.0, "12 min 30 s"), (3599.7, "1 h 00 min"), (7500.0, "2 h 05 min")],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


def test_a_transformer_is_described_as_one() -> None:
    assert describe_plan(make_plan(TRANSFORMER)).startswith("SwinUNETR, 24 features; patches of 32 x 32 x 32 voxels")
