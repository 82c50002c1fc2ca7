"""From a CSV of a motion sensor to a bundle: python examples/motion/bundle.py motion.csv motion.edgetl

The CSV has the columns time, label, group (who or where it was) and ax, ay, az with their unit: `ax [g]`.
"""

import sys

from edgetl_runtime.windows import WindowSpec

import edgetl

data = edgetl.dataset(sys.argv[1], window=WindowSpec(length=50, stride=25, rate_hz=50.0))  # a second, every half
network = edgetl.extractor("edgetl/conv1d-s", data=data, turn=30)  # as if mounted up to 30 degrees askew
trained = edgetl.finetune(network, data, recipe="scratch", validation=0.0)
built = edgetl.build(trained, data, out=sys.argv[2])
sys.stdout.write(f"{built.path}: {100 * (built.held_out_accuracy or 0):.1f} % right on people it never saw\n")
