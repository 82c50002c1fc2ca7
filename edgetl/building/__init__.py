"""From an extractor and a dataset to a bundle: head, precisions for devices, golden samples, and what came of it."""
