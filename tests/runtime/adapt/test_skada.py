"""The published figures of SKADA's four simulated shifts, and what diagnosis and judged labels make of them."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_published_figures_come_out_again_and_nothing_is_lost_by_adapting():
    pytest.importorskip("skada", reason="pip install skada POT (into another environment; then PYTHONPATH)")
    pytest.importorskip("sklearn")
    from benchmarks.adapt_skada import COLUMNS, measure

    found = measure()
    means, printed = found["means"], found["printed"]
    for place, column in enumerate(COLUMNS):
        row = means[column]
        for method, values in printed.items():
            assert abs(row[method] - values[place]) <= 0.5, f"{column}, {method}: {row[method]:.2f}"
        for labels in (50, 100):
            assert row[f"diagnosis + {labels} labels"] >= row["source"] - 2.0
    assert means["target_shift"]["label_shift"] >= 92.0
    assert means["conditional_shift"]["diagnosis + 100 labels"] >= 80.0
    assert means["target_shift"]["diagnosis + 100 labels"] >= 91.0
