"""Draws growth.json as PNG files: python plots.py RESULTS FOLDER. Runs where matplotlib is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

LABELS = {
    "base": "customers in the base",
    "page": "page, by cursor",
    "children": "contacts of each of 20 customers",
    "fields": "custom fields of each of 50 customers",
}


def main(results: Path, folder: Path) -> None:
    rows = json.loads(results.read_text())
    for what, label in LABELS.items():
        chosen = [r for r in rows if r["what"] == what]
        figure, axes = plt.subplots(figsize=(6, 3.6), dpi=120)
        kinds = sorted({r["of"] if what == "base" else r["size"] for r in chosen})
        for kind in kinds:
            line = [r for r in chosen if (r["of"] if what == "base" else r["size"]) == kind]
            x = [r["size"] if what == "base" else r["of"] for r in line]
            axes.plot(x, [r["p50"] for r in line], marker="o", label=kind if what == "base" else f"{kind:,} customers")
        if what in ("base", "page"):
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        axes.set_ylabel("ms per request (median)")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(folder / f"growth-{what}.png")


main(Path(sys.argv[1]), Path(sys.argv[2]))
