"""How a network is trained on the user's data: a recipe is a record, a run changes fields of it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from edgetl.errors import TuningError

__all__ = ["CANDIDATES", "DEFAULT", "RECIPES", "Recipe", "chosen_recipe"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out of a run, beside the network, the data and the seed.

    - `start`: "given", or "random": every layer draws its weights anew.
    - `blocks`: share (0..1) of the stages of the network that is trained, counted from the end, at least one; the
      head always is.
      `gradual` lets one stage after the other join in, the last first (Howard and Ruder 2018).
    - `epochs` passes, and more where these make fewer than `steps` steps (0 where epochs are asked for by a caller), in
      batches of `batch` samples over all processes together, by AdamW. `rate` is the learning rate
      of the last stage, `depth_rate` times that the one of the first stage trained, geometrically between;
      `head_rate` that of the head. It rises over the first `warmup` (share) of the steps and falls as a cosine.
      `clip` bounds the norm of the gradient, 0 does not.
    - `weight_decay` draws the weights towards zero, `toward_start` those of the network towards where they started
      (L2-SP, Li et al. 2018; both decoupled from the gradient as in AdamW).
    - `average`: decay of the running mean of the weights that is kept in the end, 0 for none.
    - `mixup`: parameter of its Beta distribution, 0 for none (Zhang et al. 2018); `label_smoothing`: share.
    - `jitter`: images are scaled and shifted by up to that share; `light`: brightness and contrast change by up to
      that share; `flip`: half of them are mirrored. Arrays are left as they are.
    - `batch_statistics`: "frozen" keeps those of batch normalisation, "moving" goes on estimating them. Each process
      then normalises by its own share of the batch.
    - `warm_head`: the head starts as closed-form SLDA on the features (Kumar et al. 2022), not at random.
    - `validation`: share of the training part, class by class, that chooses the best epoch and stops the run after
      `patience` epochs without gain (0: never); with 0, or fewer than 8 samples a class, the last epoch is kept.
    - `precision`: "fp32", "bf16", or "auto": bf16 on a GPU that has it. `recompute` saves memory by computing the
      inside of each trained stage again in the backward pass.
    - `task_weights`, where the data have several tasks: "equal", "uncertainty" (learnt, Kendall et al. 2018), or fixed
      ones, "kind=1,angle=0.5".
    - `quantization_aware`: so many passes in the end in which the trained network learns to give the same features when
      it is rounded to INT8.
    """

    start: str = "given"
    blocks: float = 1.0
    gradual: bool = False
    epochs: int = 12
    steps: int = 200
    batch: int = 32
    rate: float = 3e-4
    depth_rate: float = 0.1
    head_rate: float = 1e-3
    warmup: float = 0.1
    clip: float = 1.0
    weight_decay: float = 1e-2
    toward_start: float = 0.0
    average: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.1
    jitter: float = 0.1
    light: float = 0.2
    flip: bool = False
    batch_statistics: str = "frozen"
    warm_head: bool = True
    validation: float = 0.1
    patience: int = 0
    precision: str = "auto"
    recompute: bool = False
    task_weights: str = "equal"
    quantization_aware: int = 0


RECIPES: Mapping[str, Recipe] = {
    "head": Recipe(blocks=0.0, epochs=0, steps=0),
    "last-blocks": Recipe(blocks=1 / 3),
    "full": Recipe(rate=2e-4),
    "gradual": Recipe(gradual=True),
    "scratch": Recipe(
        start="random",
        epochs=30,
        steps=600,
        rate=2e-3,
        depth_rate=1.0,
        head_rate=2e-3,
        batch_statistics="moving",
        warm_head=False,
    ),
}

DEFAULT = "auto"  # chooses among the candidates by trials, `edgetl.tuning.choice`
CANDIDATES = ("head", "last-blocks", "full", "scratch")

_CHOICES = {
    "start": ("given", "random"),
    "batch_statistics": ("frozen", "moving"),
    "precision": ("auto", "bf16", "fp32"),
}
_SHARES = ("blocks", "warmup", "average", "label_smoothing", "jitter", "light", "validation")
_KINDS: Mapping[type, tuple[type, str]] = {
    bool: (bool, "true or false"), int: (Integral, "a whole number"), float: (Real, "a number"), str: (str, "a text"),
}  # fmt: skip
_MOST = 1e30  # float32 holds it
_POSITIVE = ("batch", "rate", "depth_rate", "head_rate")


def chosen_recipe(name: str, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of that name with some fields changed; None changes nothing. Raises TuningError."""
    if name not in RECIPES:
        raise TuningError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    known = {field.name for field in fields(Recipe)}
    if unknown := sorted(set(changes) - known):
        raise TuningError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    given = {key: value for key, value in changes.items() if value is not None}
    if "epochs" in given:
        given = {"steps": 0, **given}
    for key, value in given.items():
        kind, words = _KINDS[type(getattr(RECIPES[name], key))]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TuningError(f"{key} is {words}; got {value!r}")
        if kind in (Integral, Real) and not abs(given[key]) <= _MOST:
            raise TuningError(f"{key} is at most {_MOST:g}; got {value!r}")
    recipe = replace(RECIPES[name], **given)
    for key, allowed in _CHOICES.items():
        if getattr(recipe, key) not in allowed:
            raise TuningError(f"{key} is one of {', '.join(allowed)}; got {getattr(recipe, key)!r}")
    for key in _SHARES:
        if not 0.0 <= getattr(recipe, key) <= 1.0:
            raise TuningError(f"{key} is a share, 0 to 1; got {getattr(recipe, key)}")
    for key in _POSITIVE:
        if not getattr(recipe, key) > 0:
            raise TuningError(f"{key} must be positive; got {getattr(recipe, key)}")
    for key in ("epochs", "steps", "patience", "mixup", "weight_decay", "toward_start", "clip", "quantization_aware"):
        if not getattr(recipe, key) >= 0:
            raise TuningError(f"{key} must not be negative; got {getattr(recipe, key)}")
    if recipe.average == 1.0 or recipe.validation == 1.0:
        raise TuningError("average and validation must be below 1")
    if recipe.recompute and recipe.batch_statistics == "moving":
        raise TuningError("recompute would count every batch twice in moving batch statistics; freeze them")
    return recipe
