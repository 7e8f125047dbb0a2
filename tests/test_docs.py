"""The pages say what is true: their examples run, their links lead somewhere."""

import ast
import doctest
import inspect
import io
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import correlight
from correlight.cli import program, terminal
from correlight.methods.task import NOTHING_FOUND
from correlight.recipes import load
from correlight.registration.result import Result
from correlight.simulate import pair
from correlight.simulate.write import write_pair
from tests.command_options import keywords

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


PACKAGE = ROOT / "src" / "correlight"
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
OPTIONAL = {"torch", "napari", "magicgui", "qtpy", "safetensors"}
CLI = ROOT / "docs" / "cli.md"


def options(command: Callable[..., Any]) -> set[str]:
    """The long options of a command, from its keyword-only parameters."""
    names = {name.replace("_", "-") for name in keywords(command)}
    return {"--no-mirror" if option == "mirror" else f"--{option}" for option in names}


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
    # The gallery is made while the site is built, from examples/gallery.
    missing = [target for target in targets if not (page.parent / target).exists() and "gallery/" not in target]
    assert missing == []


# The page on extending names a method of the package that it builds; another test installs that.
RECIPES = {
    page: text
    for page in PAGES
    if page.name != "extending.md"
    for text in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
}


@pytest.mark.parametrize(("page", "text"), RECIPES.items(), ids=map(name, RECIPES))
def test_recipes_on_the_pages_are_recipes(page: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "own.toml").name, page


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_print_what_they_say(module: str) -> None:
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{module} needs {error.name}, which is not installed")
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for session in doctest.DocTestFinder().find(found):
        runner.run(session, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_every_room_is_on_the_page_of_the_design() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = {module.split(".")[1] for module in MODULES if "." in module}
    assert sorted(room for room in rooms if not re.search(rf"`{room}/?`", design)) == []


@pytest.mark.parametrize("folder", ["decisions", "recipes", "tutorials"])
def test_every_page_of_a_folder_is_on_its_first_page(folder: str) -> None:
    pages = {page.name for page in (ROOT / "docs" / folder).glob("*.md")}
    index = (ROOT / "docs" / folder / "index.md").read_text(encoding="utf-8")
    assert [page for page in pages - {"index.md"} if f"]({page}" not in index] == []


def test_every_recipe_is_in_the_table_of_recipes() -> None:
    table = (ROOT / "docs" / "recipes" / "index.md").read_text(encoding="utf-8")
    assert [path.stem for path in (PACKAGE / "recipes").glob("*.toml") if f"[`{path.stem}`]" not in table] == []


@cache
def reasons() -> set[str]:
    """The names of all pieces of evidence that can speak against a result, as the source spells them."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Evidence", "measured") and node.args:
                title = node.args[0]
                if isinstance(title, ast.Constant) and isinstance(title.value, str):
                    favours = ast.unparse(node.args[3]) if ast.unparse(node.func) == "Evidence" else ""
                    found.setdefault(title.value, set()).add(favours)
    return {title for title, values in found.items() if values != {"True"}}


def test_every_reason_has_a_section_that_says_what_helps() -> None:
    page = (ROOT / "docs" / "refusals.md").read_text(encoding="utf-8")
    sections = {title.lower() for title in re.findall(r"^### (.*)$", page, re.MULTILINE)}
    assert len(reasons()) > 25
    assert sorted(title for title in reasons() if title.lower() not in sections) == []
    assert NOTHING_FOUND in page.replace("\n> ", " ")


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", page, re.MULTILINE))
    assert sorted(set(correlight.__all__) - {"__version__"} - listed) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "gallery").glob("*.py")), ids=name)
def test_examples_of_the_gallery_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize(
    "command",
    [
        "register",
        "batch",
        "reproduce",
        "apply",
        "convert",
        "figure",
        "landmarks",
        "pair",
        "features",
        "train",
        "predict",
        "demo",
    ],
)
def test_the_page_of_the_command_line_names_every_option_and_no_other(command: str) -> None:
    start = f"\n## `correlight {command}"
    section = CLI.read_text(encoding="utf-8").partition(start)[2].partition("\n## ")[0]
    listed = {
        option for row in re.findall(r"^\| (`-.*?) \|", section, re.M) for option in re.findall(r"--[a-z-]+", row)
    }
    assert listed == options(getattr(program, command))


def test_the_page_of_the_command_line_names_every_exit_code() -> None:
    section = CLI.read_text(encoding="utf-8").partition("\n## Exit codes")[2]
    codes = {terminal.ACCEPTED, terminal.UNSURE, terminal.MISUSED, terminal.FAILED, *terminal.STOPPED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.M)} == codes


def test_the_page_of_the_command_line_names_every_key_of_the_result() -> None:
    keys = set(re.findall(r'^            "(\w+)":', inspect.getsource(Result.to_json), re.M))
    section = CLI.read_text(encoding="utf-8").partition("### `result.json`")[2].partition("\n## ")[0]
    assert len(keys) > 15
    assert keys == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.M))))


@pytest.fixture
def in_folder_of_two_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the quick start speaks of, small enough to be registered quickly."""
    simulated = pair("cell", 1, electron_shape=(256, 256), light_shape=(192, 192), data_bar=False)
    files = write_pair(tmp_path, simulated)
    files.fixed.rename(tmp_path / "em.tif")
    files.moving.rename(tmp_path / "light.tif")
    shutil.copy(tmp_path / "light.tif", tmp_path / "other_channel.tif")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_quick_start_in_python_runs(in_folder_of_two_images: Path) -> None:
    (block,) = [text for text in FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")) if ">>>" not in text]
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(block, "README.md", "exec"), {})
    assert said.getvalue().split()[0] == "accepted"
