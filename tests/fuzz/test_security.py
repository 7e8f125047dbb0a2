"""What SECURITY.md promises: the tests that it names exist, and the source has no way to break it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "correlight").rglob("*.py"))
# The training of the network is run by developers only, and fetches nothing either.
OUTWARD = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"),
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "fsspec", "webbrowser"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the name that is called as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_every_test_that_is_named_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 20
    missing = []
    for path, function in named:
        file = ROOT / path
        if not file.is_file() or (function and f"\ndef {function}(" not in file.read_text(encoding="utf-8")):
            missing.append(f"{path}::{function}")
    assert missing == []


def test_every_promise_is_proved() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", page.partition("## What is never")[2].partition("\n## ")[0], re.M)
    promises = [row for row in rows if row[0] not in ("never", "---")]
    assert len(promises) > 8
    assert [what for what, proof in promises if "`tests/" not in proof] == []


def test_nothing_imports_what_runs_code_or_reaches_out() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            # Of its package, the one that takes addresses apart opens none.
            outward = [name for name in names if name.partition(".")[0] in OUTWARD and name != "urllib.parse"]
            found += [f"{path.name}: {name}" for name in outward]
    assert len(SOURCES) > 100
    assert found == []
    pages = [*(ROOT / "src").rglob("*.j2"), *(ROOT / "src").rglob("*.js"), *(ROOT / "src").rglob("*.css")]
    assert pages
    loads = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|\bfetch\(|@import""")
    assert [page.name for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []


def test_nothing_is_evaluated_and_no_shell_is_started() -> None:
    found = []
    for path in SOURCES:
        for name, call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            words = {keyword.arg: keyword.value for keyword in call.keywords}
            if name in ("eval", "exec", "os.system", "os.popen", "pty.spawn", "subprocess.getoutput"):
                found.append(f"{path.name}: {name}")
            if name.endswith(".load") and "allow_pickle" in words and ast.unparse(words["allow_pickle"]) != "False":
                found.append(f"{path.name}: {name} with pickles")
            if "shell" in words:
                found.append(f"{path.name}: {name} with a shell")
    assert found == []
