"""The command `edgetl-runtime`: one file a command, each imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from typing import Dict, List, Optional

from edgetl_runtime.blas import ENVIRONMENT
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.terminal import clean_record, shown

__all__ = ["COMMANDS", "main"]

COMMANDS: Dict[str, str] = {
    "doctor": "which board this is, what it has, what is missing and how to get it",
    "bench": "what every way to run a bundle costs and computes on this board, and the report that proves it",
    "install": "verify a bundle, install it in a state folder and check its golden samples",
    "use": "switch between installed bundles; each keeps what it had learnt",
    "run": "predict what a camera or sensor gives, for days, and learn from the labels that come back",
    "drift": "what samples without labels show: has the domain changed, and what would follow it",
    "ask": "what is worth asking a person about what was seen, and the answers",
    "record": "record a camera or sensor to MCAP",
    "predict": "say what images show",
    "learn": "learn labelled images; durable when it returns",
    "review": "let the guard judge now whether what was learnt should go live, and say why",
    "history": "what happened to the live head, and on what evidence",
    "rollback": "make an earlier generation of the head live",
    "status": "what is installed and what was learnt",
    "explain": "why the live head decides as it does on images: evidence by class, and the nearest learnt samples",
    "forget": "remove what was learnt from a sample, a label or a source",
    "merge": "put what several devices learnt into one new state",
    "trust": "provision the public keys whose bundles this device accepts",
}


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; 0 when it worked, 1 on an error (one line says what to do), 2 on wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # this process is ours, and NumPy is not loaded yet
        for variable in ENVIRONMENT:
            os.environ.setdefault(variable, "1")
    parser = argparse.ArgumentParser(
        prog="edgetl-runtime",
        description="Learns a small head on a frozen network, on the device.",
        epilog="example:\n  edgetl-runtime install birds.edgetl && edgetl-runtime predict photo.jpg",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, description in COMMANDS.items():
        command = commands.add_parser(
            name, help=description, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in arguments:
            module = importlib.import_module(f"edgetl_runtime.cli.{name}")
            command.epilog = f"example:\n  {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(run=module.run)
            _add_common(command)
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(2)
    chosen = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    logging.basicConfig(level=logging.INFO if chosen.verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(clean_record)
    try:
        return int(chosen.run(chosen))
    except EdgetlError as error:
        print(shown(f"edgetl-runtime {chosen.command}: {error}"), file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was acknowledged is kept", file=sys.stderr)
        return 130


def _add_common(command: argparse.ArgumentParser) -> None:
    default = os.environ.get("EDGETL_STATE", "edgetl-state")
    command.add_argument(
        "--state",
        metavar="DIR",
        default=default,
        help="state folder: what is installed and learnt (default: %(default)s; or set EDGETL_STATE)",
    )
    command.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="accept a bundle that nobody signed; otherwise only one signed by a trusted key is",
    )
    command.add_argument(
        "--engine", help="inference engine: onnxruntime, openvino, tensorrt (default: the bundle's plan for this board)"
    )
    command.add_argument(
        "--variant", help="build of the extractor, such as fp32 (default: the bundle's plan for this board)"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--verbose", action="store_true", help="say more on stderr")


def _version() -> str:
    from edgetl_runtime import __version__

    return f"edgetl-runtime {__version__}"
