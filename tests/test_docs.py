"""The pages say what is true: their examples run, their links lead somewhere."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples(page: Path) -> str:
    """The interactive examples of a page as one session; those without a prompt are read by another test."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return "\n".join(block for block in blocks if ">>>" in block)


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=name)
def test_examples_print_what_the_page_says(page: Path) -> None:
    session = doctest.DocTestParser().get_doctest(examples(page), {}, name(page), str(page), 0)
    said: list[str] = []
    outcome = doctest.DocTestRunner().run(session, out=said.append)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(said)


def test_the_page_of_conventions_has_examples() -> None:
    assert examples(ROOT / "docs" / "conventions.md").count(">>>") >= 10


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_decision_is_on_the_first_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs" / "decisions").glob("*.md") if page.name not in index] == []
