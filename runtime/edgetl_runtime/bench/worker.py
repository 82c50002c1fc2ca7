"""`python -m edgetl_runtime.bench.worker JOB.json OUT.json`: one way measured in a process that does nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict

__all__ = ["run_job"]


def run_job(job: Dict[str, Any]) -> Dict[str, Any]:
    """The figures of a job, or {"error": words, "kind": name of the error}."""
    from edgetl_runtime.blas import limit_blas_threads
    from edgetl_runtime.errors import EdgetlError

    try:
        from edgetl_runtime.bench.measuring import measure_way
        from edgetl_runtime.bundle.container import read_bundle
        from edgetl_runtime.engines import checks, open_engine
        from edgetl_runtime.serving import Way

        limit_blas_threads(1)
        folder = None if job["cache_dir"] is None else Path(job["cache_dir"])
        if job["what"] == "contract":
            options = {"threads": job["threads"], "cache_dir": folder, **job["options"]}
            results = checks.run_checks(lambda graph: open_engine(job["engine"], graph, **options), runs=job["runs"])
            return {"checks": [result.__dict__ for result in results]}
        bundle = read_bundle(job["bundle"])
        if bundle.id != job["bundle_id"]:
            return {"error": "the bundle changed while it was measured", "kind": "BundleCorruptError"}
        variant = bundle.manifest.variant(job["variant"])
        return measure_way(
            bundle,
            Way(variant, job["engine"], job["feature_tolerance"], job["options"]),
            threads=job["threads"],
            cache_dir=folder,
            build=job["build"],
            progress=_tell,
            runs=job["runs"],
            started=job["started"],
        )
    except EdgetlError as error:
        return {"error": str(error), "kind": type(error).__name__}


def _tell(phase: str, seconds: float) -> None:
    sys.stdout.write(json.dumps({"phase": phase, "seconds": seconds}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run_job(json.loads(Path(sys.argv[1]).read_text()))), encoding="utf-8")
