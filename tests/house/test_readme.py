"""What the READMEs show is true: their blocks run, the commands they name exist, their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.readme import Block, blocks, broken_links, commands, faults, make_targets, run_block
from tests.house.source import REPO

PAGES = sorted(f"docs/{path.name}" for path in (REPO / "docs").glob("*.md"))
READMES = ["README.md", "runtime/README.md", "CONTRIBUTING.md", *PAGES]
TEXTS = {path: (REPO / path).read_text(encoding="utf-8") for path in READMES}


def data() -> Path | None:
    folder = Path(os.environ.get("EDGETL_DATA", REPO.parent / "shared" / "data"))
    return folder.resolve() if folder.is_dir() else None


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder to stand in for each README, the same for all its blocks."""
    return {path: tmp_path_factory.mktemp("reader") for path in READMES}


def runnable() -> list[object]:
    return [
        pytest.param(
            path, block, id=f"{path}:{block.line}", marks=[pytest.mark.slow] if block.mark == "nightly" else []
        )
        for path, text in TEXTS.items()
        for block in blocks(text)
        if block.runs
    ]


@pytest.mark.parametrize(("path", "block"), runnable())
def test_block_runs(path: str, block: Block, folders: dict[str, Path]) -> None:
    if block.needs_data and data() is None:
        pytest.skip("this block needs the real data; set EDGETL_DATA to its folder")
    done = run_block(block, folders[path], data())
    assert done.returncode == 0, f"{path}:{block.line}\n{block.script}\n-> exit {done.returncode}\n{done.stdout}"


@pytest.mark.parametrize("path", READMES)
def test_blocks_can_be_run_by_a_test_or_say_why_not(path: str) -> None:
    assert faults(TEXTS[path]) == []


def target_exists(target: str) -> bool:
    return subprocess.run(["make", "-n", target], cwd=REPO, capture_output=True, check=False).returncode == 0


def command_exists(program: str, name: str) -> bool:
    command = [Path(sys.executable).parent / program, name, "--help"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("path", READMES)
def test_every_make_target_that_is_named_exists(path: str) -> None:
    assert [target for target in sorted(make_targets(TEXTS[path])) if not target_exists(target)] == []


@pytest.mark.parametrize("path", READMES)
def test_every_command_that_is_named_exists(path: str) -> None:
    assert [command for command in sorted(commands(TEXTS[path])) if not command_exists(*command)] == []


@pytest.mark.parametrize("path", READMES)
def test_every_link_to_a_file_leads_somewhere(path: str) -> None:
    assert broken_links(TEXTS[path], (REPO / path).parent) == []


def test_the_drawing_of_the_demo_says_what_the_table_beside_it_says() -> None:
    demo = TEXTS["README.md"].split("<!-- begin demo -->")[1].split("<!-- end demo -->")[0]
    said = {number for line in demo.splitlines() if line.startswith("|") for number in re.findall(r"\d+\.\d", line)}
    drawing = (REPO / "docs" / "demo.svg").read_text(encoding="utf-8")
    # A point says its value in its title, a level in its name.
    drawn = set(re.findall(r"(?:: |value\">)(\d+\.\d)</", drawing))
    assert len(said) > 8
    assert said == drawn


SAMPLE = """# A title: with marks

Say `make demo`, then `edgetl build | inspect`; see [the licence](LICENSE) and [above](#a-title-with-marks).

```bash
echo kept > file.txt
```

```console
$ cat file.txt \\
    file.txt
kept
$ test -f file.txt
```

```python
print(open("file.txt").read())
```

<!-- not run: it would install things -->
```bash
pip install edgetl
```

<!-- nightly -->

```bash
make demo
```

<!-- needs data -->
```bash
edgetl build --data photos
```

```json
{"not": "run"}
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    found = blocks(SAMPLE)
    assert [block.language for block in found] == ["bash", "console", "python", "bash", "bash", "bash", "json"]
    assert [block.mark for block in found] == ["", "", "", "not run", "nightly", "needs data", ""]
    assert [block.runs for block in found] == [True, True, True, False, True, True, False]
    assert [block.needs_data for block in found] == [False] * 5 + [True, False]
    assert found[1].script == "cat file.txt \\\n    file.txt\ntest -f file.txt\n"
    assert found[3].reason == "it would install things"
    assert SAMPLE.splitlines()[found[2].line - 1] == "```python"


def test_blocks_of_one_readme_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "reader").mkdir()
    done = [run_block(block, tmp_path / "reader", None) for block in blocks(SAMPLE)[:3]]
    assert [result.returncode for result in done] == [0, 0, 0]
    assert done[1].stdout == "kept\nkept\n"
    assert done[2].stdout == "kept\n\n"


def test_a_block_finds_our_commands_the_data_and_the_makefile(tmp_path: Path) -> None:
    (tmp_path / "reader").mkdir()
    python = Path(sys.executable).parent / "python"
    block = Block(1, "bash", f"make -n help\ntest $(command -v python) = {python}\necho $EDGETL_DATA\n")
    done = run_block(block, tmp_path / "reader", tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(f"{tmp_path}\n")


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nno-such-command-here\n```",
        "```bash\nfalse\ntrue\n```",
        "```bash\nfalse | cat\n```",
        "```console\n$ echo fine\nfine\n$ ls no-such-file\n```",
        "```python\nimport edgetl_runtime as rt\nrt.no_such_name\n```",
        "1. indented\n\n   ```bash\n   exit 3\n   ```",
    ],
)
def test_a_broken_block_fails(text: str, tmp_path: Path) -> None:
    (tmp_path / "reader").mkdir()
    (block,) = blocks(text)
    assert run_block(block, tmp_path / "reader", None).returncode != 0


@pytest.mark.parametrize(
    "text",
    [
        "<!-- not run -->\n```bash\nmake demo\n```",
        "```bash\npip install edgetl\n```",
        "```bash\nmake test\n```",
        "```console\nno line is typed here\n```",
    ],
)
def test_a_block_that_no_test_can_run_is_a_fault(text: str) -> None:
    assert len(faults(text)) == 1


def test_names_that_do_not_exist_are_found() -> None:
    assert faults(SAMPLE) == []
    assert make_targets(SAMPLE) == {"demo"}
    assert commands(SAMPLE) == {("edgetl", "build"), ("edgetl", "inspect")}
    assert make_targets("`make nonsense` and ```make```") == {"nonsense"}
    assert commands("```bash\nedgetl-runtime nonsense x\n./edgetl-runtime y\n```") == {("edgetl-runtime", "nonsense")}
    assert target_exists("help")
    assert not target_exists("nonsense")
    assert not command_exists("edgetl-runtime", "nonsense")
    assert not command_exists("edgetl", "nonsense")


def test_links_that_lead_nowhere_are_found() -> None:
    assert broken_links(SAMPLE, REPO) == []
    text = '[a](no/file.md) [b](#no-heading) [c](https://example.org) [d](LICENSE#x) <img src="no.png"> `[e](f)`'
    assert broken_links(text, REPO) == ["no/file.md", "#no-heading", "no.png"]
