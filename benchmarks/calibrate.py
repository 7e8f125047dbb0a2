"""Fit the numbers of ``evidence/confidence.toml`` to results whose truth is known, and say how well they hold.

``python -m benchmarks.calibrate`` reads ``trust.jsonl`` and the lines of `benchmarks.accuracy`, and writes into
``benchmarks/results`` the page ``calibration.md`` with a reliability diagram and a risk-coverage curve. Unless it says
otherwise, a figure on that page is of results judged by numbers that were fitted without their specimen. With
``--ship`` the numbers fitted to all results go into ``confidence.toml``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from benchmarks.accuracy import load_rows
from benchmarks.plots import curve
from benchmarks.protocol import load_pairs
from benchmarks.software import ROOT, commit
from benchmarks.trust import RESULTS, load
from correlight.evidence.confidence import OPINIONS, Calibration, Findings, calibration, doubts, support

TARGET = ROOT / "src" / "correlight" / "evidence" / "confidence.toml"
# Rows of these protocols that the present search made.
PROTOCOLS = ("free", "prior", "unrelated")
NAMES = {
    "wrong_ratio": "Ratio to wrong poses",
    "wrong_poses": "Score above wrong poses",
    "margin": "Margin over rivals",
    "second_measure": "Second measure",
    "halves": "Two halves",
    "measures": "Other measure",
    "backward": "Exchanged images",
    "overlap": "Overlap",
    "unusual": "Out-of-distribution score",
}
TERMS = ("ratio", "margin", "second", "halves", "measures", "backward", "unusual")
_FOR = np.array([name in ("ratio", "margin") for name in TERMS])
_OPINION = np.array([name in OPINIONS for name in TERMS])
_DOUBT = ~_FOR & ~_OPINION
# Truth that is this good, in pixels, tells whether predicted errors hold.
_EXACT = 1.0
# Where rows say little, weights stay near what was set by hand: log odds at full evidence known from earlier searches.
PRIOR = np.array([-3.4, 9.0, 5.0, 2.3, 1.5, 1.5, 1.5, 2.3])
PRIOR_WIDTH = np.array([2.0, 4.0, 4.0, 1.0, 0.7, 0.7, 0.7, 1.0])
BINS = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0])
DRAWS = 1000
# By which share of the width a measure of no use leads astray.
_LED_ASTRAY = 0.03
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cases:
    """Results with their evidence: terms ``(N, 7)``, whether right ``(N,)``, specimen and set ``(N,)``."""

    terms: Numbers
    right: NDArray[np.bool_]
    specimen: NDArray[np.str_]
    real: NDArray[np.bool_]
    related: NDArray[np.bool_]

    def chosen(self, keep: NDArray[np.bool_]) -> Cases:
        """Some of the cases."""
        return Cases(self.terms[keep], self.right[keep], self.specimen[keep], self.real[keep], self.related[keep])


def main() -> None:
    """Fit, write the numbers and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("--ship", action="store_true", help="write the fitted numbers into the package")
    asked = parser.parse_args()
    rows = load(RESULTS / "trust.jsonl")
    cases = gather(rows, asked.data)
    held_out = cross_validated(cases)
    fitted = fit(cases)
    scale = error_scale(rows)
    if asked.ship:
        TARGET.write_text(_written(fitted, scale), encoding="utf-8")
        calibration.cache_clear()
    written = page(cases, held_out, rows, by_construction(asked.data), scale)
    (RESULTS / "calibration.md").write_text(written, encoding="utf-8")
    print((RESULTS / "calibration.md").read_text())


def gather(simulated: Sequence[dict[str, Any]], data: Path) -> Cases:
    """Simulated results, and those on real pairs, whose specimens `pairs.json` names."""
    specimens = {pair.name: pair.specimen for pair in load_pairs(data)}
    listed = [(row, row["specimen"], False, bool(row["related"])) for row in simulated]
    for protocol in PROTOCOLS:
        for row in load_rows(RESULTS / f"accuracy-{protocol}.jsonl"):
            listed.append((row, specimens.get(row["pair"], row["pair"]), True, protocol != "unrelated"))
    listed = [entry for entry in listed if set(NAMES.values()) <= set(entry[0]["evidence"])]
    return Cases(
        np.array([_terms(row["evidence"]) for row, *_ in listed]),
        np.array([bool(row["success"]) for row, *_ in listed]),
        np.array([specimen for _, specimen, _, _ in listed]),
        np.array([real for *_, real, _ in listed]),
        np.array([related for *_, related in listed]),
    )


def _terms(evidence: dict[str, float | None]) -> list[float]:
    values = {field: float(evidence[name] or 0.0) for field, name in NAMES.items()}
    findings = Findings(**values)  # type: ignore[arg-type]
    both = {**support(findings), **doubts(findings)}
    return [both[name] for name in TERMS]


def log_odds(numbers: Numbers, terms: Numbers) -> Numbers:
    """As `correlight.evidence.confidence.probability` has it; ``numbers`` are the offset and the weights."""
    most = np.log(calibration().most / (1 - calibration().most))
    weighed = terms * numbers[1:]
    for_it = numbers[0] + weighed[:, _FOR].sum(axis=1) - weighed[:, _OPINION].sum(axis=1)
    return np.asarray(np.maximum(np.minimum(most, for_it) - weighed[:, _DOUBT].sum(axis=1), -most))


def fit(cases: Cases, without: str | None = None) -> Numbers:
    """The likeliest numbers, pulled towards those set by hand; no weight is negative, and one can be left out."""
    # Real and simulated results have equal say, however many there are of each.
    weight = np.where(cases.real, 1 / max(1, cases.real.sum()), 1 / max(1, (~cases.real).sum())) * len(cases.right) / 2
    bounds: list[tuple[float | None, float | None]] = [(None, None), *[(0.0, None)] * len(TERMS)]
    start = PRIOR.copy()
    if without is not None:
        place = 1 + TERMS.index(without)
        bounds[place], start[place] = (0.0, 0.0), 0.0

    def cost(numbers: Numbers) -> float:
        odds = log_odds(numbers, cases.terms)
        loss = np.logaddexp(0, np.where(cases.right, -odds, odds))
        return float((weight * loss).sum() + 0.5 * (((numbers - start) / PRIOR_WIDTH) ** 2).sum())

    return np.asarray(optimize.minimize(cost, start, bounds=bounds, method="L-BFGS-B").x)


def cross_validated(cases: Cases, without: str | None = None) -> Numbers:
    """The probability of each case by numbers fitted without its specimen."""
    sure = np.zeros(len(cases.right))
    for specimen in np.unique(cases.specimen):
        # An unrelated pair shares a specimen with every result on either of them.
        own = set(specimen.split(" with "))
        others = np.array([not own & set(name.split(" with ")) for name in cases.specimen])
        here = cases.specimen == specimen
        sure[here] = 1 / (1 + np.exp(-log_odds(fit(cases.chosen(others), without), cases.terms[here])))
    return sure


def error_scale(rows: Sequence[dict[str, Any]]) -> float:
    """What the predicted error is to be multiplied with, so that 95 % of places of right results lie under the bound.

    The error of a place is taken for Rayleigh-distributed with the root mean square error of its result, so that three
    times the squared ratio of predicted to true error is the exponent of the share above the bound.
    """
    # Rows say by which factor their prediction had been multiplied already.
    right = [row for row in rows if row["success"] and row.get("true_over_predicted")]
    ratios = np.array([row["true_over_predicted"] * row["error_scale"] for row in right])

    def above(scale: float) -> float:
        return float(np.mean(np.exp(-3 * (scale / ratios) ** 2))) - 0.05

    return float(optimize.brentq(above, 0.1, 10.0)) if len(ratios) else 1.0


def _written(numbers: Numbers, scale: float) -> str:
    known: Calibration = calibration()
    limits = known.limits
    fitted = dict(zip(TERMS, numbers[1:].tolist(), strict=True))
    # What the results lack stays as it was set by hand.
    weights = "\n".join(f"{name} = {value:.3f}" for name, value in {**known.weights, **fitted}.items())
    return (
        "# How sure a result is: log odds = offset + weighted support - weighted doubts; evidence/confidence.py says\n"
        f"# what they are. Fitted by python -m benchmarks.calibrate --ship.\noffset = {numbers[0]:.3f}\n"
        f"accept_from = {known.accept_from}\nrefuse_below = {known.refuse_below}\nmost = {known.most}\n"
        f"error_scale = {scale:.3f}\n\n[limits]\nmargin = {list(limits.margin)}\napart = {limits.apart}\n"
        f"most_apart = {limits.most_apart}\noverlap = {limits.overlap}\n\n[weights]\n{weights}\n"
    )


def expected_calibration_error(sure: Numbers, right: NDArray[np.bool_]) -> float:
    """Mean distance between what is claimed and what is so, over bins of confidence, weighted by their counts."""
    number = np.digitize(sure, BINS[1:-1])
    gaps = [
        np.count_nonzero(number == one) * abs(sure[number == one].mean() - right[number == one].mean())
        for one in np.unique(number)
    ]
    return float(np.sum(gaps) / len(sure))


def figures(sure: Numbers, cases: Cases) -> dict[str, float]:
    """Shares that the verdict is judged by."""
    known = calibration()
    accepted, refused = sure >= known.accept_from, sure < known.refuse_below
    right = cases.right
    return {
        "accepted": float(accepted.mean()),
        "accepted that are wrong": float((accepted & ~right).sum() / max(1, accepted.sum())),
        "right that are accepted": float((accepted & right).sum() / max(1, right.sum())),
        "right that are refused": float((refused & right).sum() / max(1, right.sum())),
        "calibration error": expected_calibration_error(sure, right),
    }


def interval(sure: Numbers, cases: Cases, name: str) -> tuple[float, float]:
    """95 % interval of a figure: specimens, not results, are drawn anew."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(cases.specimen == specimen) for specimen in np.unique(cases.specimen)]
    values = []
    for _ in range(DRAWS):
        drawn = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        part = Cases(*(getattr(cases, field)[drawn] for field in ("terms", "right", "specimen", "real", "related")))
        values.append(figures(sure[drawn], part)[name])
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def page(
    cases: Cases, sure: Numbers, rows: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]], scale: float
) -> str:
    """The results in words and tables; draws the two curves beside it."""
    unrelated = int((~cases.related).sum())
    intro = (
        f"`python -m benchmarks.calibrate --data FOLDER`, {commit('src')}: {len(sure)} results, {cases.real.sum()} on "
        f"real pairs, {(~cases.real).sum()} simulated; {unrelated} of two specimens. Each is judged by numbers fitted "
        "without its specimen; intervals draw specimens."
    )
    return "\n".join(
        [
            *("# Calibration of the verdict", "", intro, ""),
            *_shares(cases, sure),
            *("", _shipped(cases)),
            *("", _vetoed(cases)),
            *("", "What each piece of evidence carries (all results):", ""),
            *_ablation(cases, sure),
            "",
            *_curves(cases, sure),
            *("", "![Reliability](reliability.svg) ![Risk and coverage](risk-coverage.svg)", ""),
            *_errors(rows, exact, scale),
            "",
        ]
    )


def _shares(cases: Cases, sure: Numbers) -> list[str]:
    parts = [(cases.chosen(which), sure[which]) for which in (~cases.real, cases.real)]
    lines = ["| | simulated | real |", "|---|---:|---:|"]
    lines.append("| results | " + " | ".join(str(len(values)) for _, values in parts) + " |")
    for name in figures(sure, cases):
        cells = []
        for part, values in parts:
            low, high = interval(values, part, name) if len(values) else (np.nan, np.nan)
            told = figures(values, part)[name] if len(values) else np.nan
            cells.append(f"{100 * told:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _shipped(cases: Cases) -> str:
    """What the numbers in the package do with the same results, most of which they may have been fitted to."""
    known = calibration()
    numbers = np.array([known.offset, *(known.weights[name] for name in TERMS)])
    accepted = 1 / (1 + np.exp(-log_odds(numbers, cases.terms))) >= known.accept_from
    told = [
        f"{np.count_nonzero(accepted & cases.right & part)} of {np.count_nonzero(cases.right & part)} right ones and "
        f"{np.count_nonzero(accepted & ~cases.right & part)} of {np.count_nonzero(~cases.right & part)} wrong ones"
        for part in (~cases.real, cases.real)
    ]
    return f"The numbers in the package accept {told[0]} (simulated), {told[1]} (real)."


def _vetoed(cases: Cases) -> str:
    """What becomes of results where mutual information is of no use and leads elsewhere."""
    known = calibration()
    numbers = np.array([known.offset, *(known.weights[name] for name in TERMS)])
    worse = doubts(Findings(1.0, 0.0, 0.0, 1.0, second_measure=0.0, measures=_LED_ASTRAY))
    terms = cases.terms.copy()
    for name in ("second", "measures"):
        terms[:, TERMS.index(name)] = np.maximum(terms[:, TERMS.index(name)], worse[name])
    accepted = 1 / (1 + np.exp(-log_odds(numbers, terms))) >= known.accept_from
    return (
        f"If mutual information did not support any of them and led {100 * _LED_ASTRAY:.0f} % of the width away, "
        f"{np.count_nonzero(accepted & cases.right)} of {np.count_nonzero(cases.right)} right ones and "
        f"{np.count_nonzero(accepted & ~cases.right)} of {np.count_nonzero(~cases.right)} wrong ones would be accepted."
    )


def _ablation(cases: Cases, sure: Numbers) -> list[str]:
    lines = [
        "| left out | log loss | accepted that are wrong | right that are accepted | calibration error |",
        "|---|---:|---:|---:|---:|",
    ]
    for without in (None, *TERMS):
        own = sure if without is None else cross_validated(cases, without)
        told = [100 * value for value in figures(own, cases).values()]
        loss = float(-np.mean(np.log(np.where(cases.right, own, 1 - own))))
        shares = " | ".join(f"{told[place]:.1f} %" for place in (1, 2, 4))
        lines.append(f"| {without or 'nothing'} | {loss:.3f} | {shares} |")
    return lines


def _curves(cases: Cases, sure: Numbers) -> list[str]:
    """The table behind the reliability diagram; draws it and the curve of risk against coverage."""
    lines = ["| confidence | results | mean confidence | right |", "|---|---:|---:|---:|"]
    number = np.digitize(sure, BINS[1:-1])
    points = []
    for one in np.unique(number):
        inside = number == one
        points.append((float(sure[inside].mean()), float(cases.right[inside].mean())))
        claimed, so = points[-1]
        lines.append(f"| {BINS[one]:g} to {BINS[one + 1]:g} | {inside.sum()} | {claimed:.2f} | {so:.2f} |")
    curve(RESULTS / "reliability.svg", points, "confidence", "share that is right", diagonal=True)
    order = np.argsort(-sure, kind="stable")
    count = np.arange(1, len(order) + 1)
    risk = np.cumsum(~cases.right[order]) / count
    points = list(zip((count / len(order)).tolist(), risk.tolist(), strict=True))
    curve(RESULTS / "risk-coverage.svg", points, "share that is kept", "share wrong of those")
    return lines


def by_construction(data: Path) -> list[dict[str, Any]]:
    """Results on real pairs whose truth is no worse than a pixel, which say how their predicted error compares.

    Those of `benchmarks.accuracy` lack the specimen, which `pairs.json` names.
    """
    exact = {pair.name: pair.specimen for pair in load_pairs(data) if pair.truth_error <= _EXACT}
    files = [RESULTS / f"accuracy-{protocol}.jsonl" for protocol in PROTOCOLS] + [RESULTS / "peers.jsonl"]
    rows = [row for file in files for row in load_rows(file) if row["pair"] in exact and "under_bound" in row]
    return [row | {"specimen": exact[row["pair"]]} for row in rows]


def _errors(rows: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]], scale: float) -> list[str]:
    """How the predicted errors of right results compare with the true ones; of real ones also by specimen."""
    groups: dict[str, list[dict[str, Any]]] = {"simulated": list(rows), "real, registered by construction": list(exact)}
    for row in exact:
        groups.setdefault(f"of these, {row['specimen']}", []).append(row)
    lines = [
        "Predicted error of right results against the true one, place by place, and as root mean square over each:",
        "",
        "| | results | places under the 95 % bound | true over predicted, median | 10 % to 90 % |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, those in groups.items():
        right = [row for row in those if row["success"] and row.get("under_bound") is not None]
        if not right:
            lines.append(f"| {name} | 0 | – | – | – |")
            continue
        # Rows say by which factor their prediction was multiplied; the share was counted under that.
        low, middle, high = np.quantile([row["true_over_predicted"] for row in right], (0.1, 0.5, 0.9))
        under = 100 * np.mean([row["under_bound"] for row in right])
        lines.append(f"| {name} | {len(right)} | {under:.1f} % | {middle:.2f} | {low:.2f} to {high:.2f} |")
    told = f"The fitted factor is {scale:.2f}, the one in the package {calibration().error_scale:.2f}."
    return [*lines, "", told]


if __name__ == "__main__":
    main()
