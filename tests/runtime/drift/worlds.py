"""A source of Gaussian classes, its reference, and streams from it with and without changes."""

from __future__ import annotations

import numpy as np
from edgetl_runtime.adapt import recalibrated
from edgetl_runtime.drift import Reference
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics

K, D = 5, 12


class World:
    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.rng, self.centres = rng, 0.6 * rng.normal(size=(K + 1, D))
        self.mix = rng.normal(size=(D, D)) / np.sqrt(D)
        rows, codes = self.drawn(1500)
        self.source = Statistics(D, shift=rows.mean(axis=0))
        self.source.add(rows, codes)
        self.held, self.held_codes = self.drawn(300)
        head = fit_head("slda", Statistics(D, shift=self.source.shift), prior=self.source)
        self.head = recalibrated(head, self.held, self.held_codes, biases=False)
        self.reference = Reference.of(self.head, self.source, self.held, self.held_codes)

    def drawn(self, count, shares=None, rho=0.0, dwell=1.0):
        """Rows (N, D) and codes (N): classes with these shares that last `dwell` samples, noise correlated by rho."""
        shares = np.full(K, 1.0 / K) if shares is None else np.asarray(shares, float) / np.sum(shares)
        codes = self.rng.choice(len(shares), count, p=shares)
        noise = self.rng.normal(size=(count, D))
        stays = self.rng.random(count) >= 1.0 / dwell
        for place in range(1, count):
            if stays[place]:
                codes[place] = codes[place - 1]
            if rho:
                noise[place] = rho * noise[place - 1] + np.sqrt(1 - rho**2) * noise[place]
        return self.centres[codes] + noise @ self.mix, codes
