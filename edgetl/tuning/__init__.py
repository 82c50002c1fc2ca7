"""Training a pretrained network on the user's data: recipes, the loop, and whether it helped."""

from __future__ import annotations

from edgetl.tuning.comparison import Comparison
from edgetl.tuning.finetuning import Tuned, finetune, tune
from edgetl.tuning.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Comparison", "Recipe", "Tuned", "finetune", "tune"]
