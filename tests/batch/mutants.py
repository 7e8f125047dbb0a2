"""Damaged files of every kind as rows of a batch, each beside a sound one."""

import json
import shutil
from pathlib import Path

import numpy as np

from tests.batch.rows import HASTY, run, write_couple, write_rows
from tests.fuzz import seeds
from tests.fuzz.mutate import change


def batch_of_mutants(home: Path, count: int, seed: int) -> list[str]:
    """Register so many damaged files; what is wrong, in words: a row that is not named, or no sentence of its own."""
    write_couple(home, "sound_EM.tif", "sound_LM.tif")
    names, rows = list(seeds.IMAGES), []
    wholes = {name: seeds.write(name, home / "whole" / name) for name in names}
    for number in range(count):
        whole = wholes[names[number % len(names)]]
        path = home / "mutants" / str(number) / whole.name
        path.parent.mkdir(parents=True)
        copy = shutil.copytree if whole.is_dir() else shutil.copy
        copy(whole, path)
        try:
            change(path, np.random.default_rng([seed, number]))
        except Exception:  # an earlier change left nothing that has the structure of the format
            path.with_name("note.txt").write_text("changed in part only")
        files = ["sound_EM.tif", str(path.relative_to(home))]
        fixed, moving = files if number % 2 else files[::-1]
        rows.append({"name": f"m{number}", "fixed": fixed, "moving": moving, **HASTY})
    rows.append({"name": "sound", "fixed": "sound_EM.tif", "moving": "sound_LM.tif", **HASTY})
    write_rows(home / "t.csv", rows)
    done = run("t.csv", "-o", "out", "--workers", "2", home=home, patience=60 + 10 * count)
    if done.returncode not in (0, 3):
        return [f"the batch ended with {done.returncode}: {done.stderr[-500:]}"]
    results = {row["name"]: row for row in json.loads((home / "out" / "summary.json").read_text())["results"]}
    wrong = [f"{row['name']} is not in the summary" for row in rows if row["name"] not in results]
    wrong += [f"sound: {results['sound']}"] if results["sound"]["status"] != "refused" else []
    for name, row in results.items():
        if row["status"] == "waiting" or "Internal error" in row["sentence"]:
            wrong.append(f"{name}, {row['moving']} on {row['fixed']}: {row['sentence']}")
        if row["status"] == "failed" and f"{name} failed: " not in done.stderr:
            wrong.append(f"{name} is not named on standard error")
    return wrong
