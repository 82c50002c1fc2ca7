"""Training a pretrained network on the user's data: recipes, the loop, and whether it helped.

`save_tuned` (and `edgetl finetune --out NAME.safetensors`) leaves two files: the weights, and `NAME.tuning.json`, the
record of the run, one JSON object:

- `format`: 1. `network`: name of the extractor. `recipe`: the one that was trained; `settings`: its fields
  (`edgetl.tuning.Recipe`); `seed`; `data`: `name` and `hash` (sha256) of the dataset.
- Lists of equal length, an entry a pass: `epoch` (1, 2, ...), `training_loss`, `validation_loss`, `validation_right`
  (share 0..1 of the validation part, or R2 where the data have numbers), `rate` (learning rate of the last stage at the
  end of the pass). What belongs to the validation part is null where none was split off; all are empty where nothing
  was trained. `step_loss`: the loss of every step. `kept_epoch`: whose weights were kept, null without training.
- `comparison`: on the `samples` held-out samples, null where nothing is held out. `score` is "right" (share 0..1) or
  "r2"; `plain`: always the commonest class, or the mean; `frozen`, `recipe`, `scratch`: closed-form head -> score on
  the features as they were, after the recipe, and of the same network from random weights ({} where not asked for);
  `own`: the linear head that was trained with the network, or null; `alone`: after the same recipe on this task only,
  {} where there are no others; `warnings`: sentences. `tasks`: task -> the same, where the data have several tasks
  (`comparison` is then null), else {}.
- `choice`: null, or, where recipe "auto" chose: `scores` (recipe -> mean score of its trials), `seconds`, `why` there
  were no trials, "" where there were, and `trials`, each with `recipe`, `draw`, `score`, `samples` and `seconds`.
- `seconds`; `command`: the words that were typed, or null from Python; `versions`: package -> version; `weights`:
  `file` and `sha256`.
"""

from __future__ import annotations

from edgetl.tuning.choice import Choice, Trial
from edgetl.tuning.comparison import Comparison
from edgetl.tuning.finetuning import Tuned, finetune, tune
from edgetl.tuning.recipes import RECIPES, Recipe
from edgetl.tuning.record import record_path, save_tuned

__all__ = [
    "RECIPES", "Choice", "Comparison", "Recipe", "Trial", "Tuned", "finetune", "record_path", "save_tuned", "tune",
]  # fmt: skip
