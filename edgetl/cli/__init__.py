"""The command `edgetl`: one file a command, each imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.terminal import clean_record, shown

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "init": "write a commented project file, edgetl.toml, filled in with the data that is there",
    "demo": "the whole loop on real digits: train, freeze, pack, and a device that learns",
    "choose": "which backbone transfers best to your data, and what it costs, before any training",
    "finetune": "train a pretrained network on your data, and see whether that helped",
    "data": "check a dataset: copies, leaks, wrong labels, skew, damage, what the device sees instead",
    "build": "a pretrained backbone and your data -> one bundle for a device",
    "inspect": "check a bundle and say what is in it",
    "bench": "what every way to run a bundle costs here, and how right it is",
    "drift": "the page of what `edgetl-runtime drift RECORDING --json` measured: tests, adapters, the guard",
    "devices": "the boards that edgetl knows: their figures, each with its source",
    "keygen": "make a key pair to sign bundles with",
    "sign": "sign a bundle that was built without a key, or with another one",
    "trust": "sign the set of keys that devices are to trust from now on",
}
_WITH_PROJECT = ("build", "choose", "data", "finetune")


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 on an error (one line says what to do), 2 on wrong usage."""
    chosen = argparse.Namespace(command="", interrupted=None)
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), chosen)
    except EdgetlError as error:
        print(shown(f"edgetl {chosen.command}: {error}"), file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        told = chosen.interrupted(chosen) if chosen.interrupted else "nothing was written; the same command starts anew"
        print(f"edgetl {chosen.command}: interrupted; {told}".replace(" :", ":"), file=sys.stderr)
        return 130


def _run(arguments: list[str], chosen: argparse.Namespace) -> int:
    """Parse into `chosen`, so that who called knows how far it came, and run."""
    parser = argparse.ArgumentParser(
        prog="edgetl",
        description="Take a pretrained network to a robot and let it go on learning there.",
        epilog="example:\n  edgetl build --backbone torchvision/mobilenet_v2 --weights DEFAULT --data photos/"
        " --out birds.edgetl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, description in COMMANDS.items():
        command = commands.add_parser(
            name, help=description, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in arguments:
            module = importlib.import_module(f"edgetl.cli.{name}")
            command.epilog = f"example:\n  {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(run=module.run, interrupted=getattr(module, "interrupted", None))
            command.add_argument("--json", action="store_true", help="print one JSON document")
            command.add_argument("--verbose", action="store_true", help="say more on stderr")
            if arguments[0] == name:
                chosen.command = name
            if name in _WITH_PROJECT and arguments[0] == name:
                from edgetl.cli.project import add_project_argument, with_project

                add_project_argument(command)
                arguments = [name, *with_project(name, command, arguments[1:])]
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(2)
    parser.parse_args(arguments, chosen)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    logging.basicConfig(level=logging.INFO if chosen.verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(clean_record)
    return int(chosen.run(chosen))


def _version() -> str:
    from edgetl import __version__

    return f"edgetl {__version__}"
