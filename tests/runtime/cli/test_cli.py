"""The commands as a field engineer types them: in a process of their own, or in this one where only words count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from edgetl_runtime.cli import COMMANDS, main
from edgetl_runtime.cli.numbers import image_targets
from edgetl_runtime.errors import SourceError
from PIL import Image

from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder a class, with 40 digits and, among them, a file that is no image."""
    root = tmp_path / "images"
    for i in range(40):
        folder = root / LABELS[i]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(FRAMES[i]).save(str(folder / f"{i:03d}.png"))
    (root / "1" / "broken.png").write_bytes(b"not an image")
    return root


@pytest.fixture
def state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    folder = str(tmp_path / "state")
    assert main(["install", str(golden.BUNDLE), "--state", folder, "--allow-unsigned"]) == 0
    capsys.readouterr()
    return folder


class Said:
    """What a command answered with."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def say(state: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    def run(*arguments: Any) -> Said:
        caplog.clear()
        code = main([*map(str, arguments), "--state", state, "--allow-unsigned"])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err + caplog.text)

    return run


def child(*arguments: str, **variables: str) -> Tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgetl_runtime.cli", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **variables},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_whole_life_in_processes_of_their_own(tmp_path: Path, images: Path) -> None:
    state = {"EDGETL_STATE": str(tmp_path / "state")}
    code, out, err = child("install", str(golden.BUNDLE), "--allow-unsigned", **state)
    assert (code, "installed digits-0-to-8" in out, "not signed" in err) == (0, True, True)
    code, out, err = child("learn", str(images), "--source", "shift 1", "--allow-unsigned", "--json", **state)
    assert code == 0, err
    learnt = json.loads(out)
    assert (len(learnt["learnt"]), learnt["skipped"], sum(learnt["labels"].values())) == (40, 1, 40)
    assert "broken.png" in err and "Traceback" not in err
    code, out, err = child("predict", str(images), "--check", "--allow-unsigned", "--json", **state)
    checked = json.loads(out)
    assert (checked["images"], checked["skipped"]) == (40, 1)
    assert checked["accuracy"] == sum(r["label"] == r["truth"] for r in checked["predictions"]) / 40 > 0.9
    code, out, err = child("forget", "--source", "shift 1", "--allow-unsigned", "--json", **state)
    assert json.loads(out) == {"forgotten": 40, "generation": learnt["generation"] + 1, "exact": True}
    code, out, err = child("status", "--allow-unsigned", "--json", **state)
    assert json.loads(out)["learnt_samples"] == 0


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_is_there_with_an_example(command: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert ("--allow-unsigned" in text and "--json" in text) or not command


def test_help_stands_any_name_of_a_state_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETL_STATE", "100%s of %d")
    with pytest.raises(SystemExit) as left:
        main(["status", "--help"])
    assert left.value.code == 0 and "100%s of %d" in " ".join(capsys.readouterr().out.split())


def test_a_command_that_is_left_out_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    said = capsys.readouterr()
    assert left.value.code == 2 and not said.out and all(f"    {name} " in said.err for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["install"],
        ["learn"],
        ["forget"],
        ["forget", "--label", "a", "--source", "b"],
        ["forget", "--sample", "x"],
        ["learn", "a.png", "--per-class", "0"],
        ["learn", "a.png", "--per-class", "-3"],
        ["learn", "a.png", "--per-class", "many"],
        ["trust", "remove"],
        ["status", "--unknown"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_with_the_usage(arguments: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: edgetl-runtime" in capsys.readouterr().err


def test_labels_come_from_folders_or_from_the_option(say: Any, images: Path, tmp_path: Path) -> None:
    nested = tmp_path / "shop" / "fruit" / "apple"
    nested.mkdir(parents=True)
    Image.fromarray(FRAMES[0]).save(str(nested / "a.png"))
    assert say("learn", tmp_path / "shop", "--json").document["labels"] == {"fruit/apple": 1}
    assert say("learn", nested / "a.png", "--json").document["labels"] == {"fruit/apple": 1}
    assert say("learn", nested / "a.png", "--label", " pear ", "--json").document["labels"] == {"pear": 1}
    loose = say("learn", nested, "--json")
    assert loose.code == 1 and "--label" in loose.err


def test_a_file_by_itself_makes_no_class_of_the_folder_it_happens_to_lie_in(say: Any, tmp_path: Path) -> None:
    (tmp_path / "Pictures").mkdir()
    Image.fromarray(FRAMES[0]).save(str(tmp_path / "Pictures" / "a.png"))
    for command in (["learn"], ["predict", "--check"]):
        refused = say(*command, tmp_path / "Pictures" / "a.png")
        assert refused.code == 1 and "called like its folder 'Pictures'" in refused.err and "--label" in refused.err
    assert say("status", "--json").document["learnt_samples"] == 0


def test_learning_says_what_is_new(say: Any, images: Path) -> None:
    one = images / LABELS[0] / "000.png"
    known = say("learn", one).out
    assert f"learnt sample 1 as {LABELS[0]}; generation" in known and "new here" not in known
    assert "  new here: mark\n" in say("learn", one, "--label", "mark").out
    assert "new here" not in say("learn", one, "--label", "mark").out
    assert say("learn", one, "--label", "sign", "--json").document["new_classes"] == ["sign"]


def test_so_many_a_class_are_drawn_the_same_way_each_time(say: Any, images: Path, tmp_path: Path) -> None:
    first = say("learn", images, "--per-class", 2, "--seed", 1, "--source", "a", "--json").document
    assert set(first["labels"].values()) <= {1, 2}
    samples = {s["id"]: s["label"] for s in say("status", "--samples", "--json").document["samples"]}
    say("forget", "--source", "a")
    second = say("learn", images, "--per-class", 2, "--seed", 1, "--json").document
    again = {s["id"]: s["label"] for s in say("status", "--samples", "--json").document["samples"]}
    assert list(samples.values()) == list(again.values())
    assert second["labels"] == first["labels"]


def test_what_is_no_image_is_skipped_and_counted(say: Any, images: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    Image.new("L", (20_000, 2)).save(str(wide))  # an image, but no camera's
    truncated = tmp_path / "cut.png"
    truncated.write_bytes(min((images / "1").glob("0*.png")).read_bytes()[:60])
    good = images / LABELS[0] / "000.png"
    learnt = say("learn", good, wide, truncated, "--label", "x", "--json")
    assert learnt.document["skipped"] == 2 and len(learnt.document["learnt"]) == 1
    assert "wide.png" in learnt.err and "cut.png" in learnt.err
    predicted = say("predict", wide, good, truncated, "--json").document
    assert predicted["skipped"] == 2 and len(predicted["predictions"]) == 1
    for command in ("learn", "predict"):
        refused = say(command, wide, truncated, *(["--label", "x"] if command == "learn" else []))
        assert refused.code == 1 and "none of the 2 files" in refused.err
    assert say("status", "--json").document["learnt_samples"] == 1


def test_an_error_is_one_line_that_says_what_to_do(say: Any, state: str, tmp_path: Path, images: Path) -> None:
    png = str(min((images / "1").glob("0*.png")))
    (tmp_path / "empty").mkdir()
    cases: Dict[Tuple[str, ...], str] = {
        ("install", str(tmp_path / "none.edgetl")): "cannot read the bundle",
        ("install", png): "not a bundle",
        ("predict", str(tmp_path / "none.png")): "there is no file",
        ("predict", str(tmp_path / "empty")): "no images in",
        ("predict", str(images / "1" / "broken.png")): "none of the 1 files",
        ("learn", png, "--label", ""): "label is empty",
        ("learn", png, "--label", "x" * 10_000): "10000 bytes",
        ("learn", png, "--label", "a\nb"): "control characters",
        ("learn", png, "--source", "x" * 300): "source has 300 bytes",
        ("forget", "--sample", "99"): "status --samples",
        ("forget", "--sample", str(2**70)): "no learnt sample",
        ("forget", "--label", "unknown"): "nothing was forgotten",
        ("trust", "add"): "KEY.pub",
        ("trust", "add", str(tmp_path / "none.pub")): "cannot read the key",
    }
    before = say("status", "--samples", "--json").document
    for arguments, words in cases.items():
        said = say(*arguments)
        assert said.code == 1, arguments
        line = said.err.splitlines()[0]
        assert line.startswith(f"edgetl-runtime {arguments[0]}: ") and words in line, (arguments, said.err)
        assert "Traceback" not in said.err and len(line) < 500
        assert said.out == ""
    after = say("status", "--samples", "--json").document
    assert {**after, "rss_bytes": 0} == {**before, "rss_bytes": 0}


def test_without_a_state_it_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["predict", "x.png"], ["forget", "--label", "x"], ["trust", "list"]):
        code = main([*command, "--state", str(tmp_path / "none")])
        said = capsys.readouterr()
        if command[0] == "trust":
            assert (code, "no key" in said.out) == (0, True)
        else:
            assert code == 1 and "edgetl-runtime install" in said.err
        assert not (tmp_path / "none").exists()


def test_unsigned_needs_the_option_at_every_start(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--state", state]) == 1
    assert "--allow-unsigned" in capsys.readouterr().err


def test_status_in_words_says_what_matters(say: Any, images: Path, state: str) -> None:
    say("learn", images, "--source", "shift 1")
    text = say("status", "--samples").out
    assert "digits-0-to-8" in text and "NOT SIGNED" in text and "40 samples learnt here" in text
    assert "sample 1: " in text and "from shift 1" in text
    for path in Path(state).glob("state.sqlite*"):
        path.unlink()
    (Path(state) / "state.sqlite").write_bytes(b"rubbish" * 100)
    read_only = say("status")
    assert read_only.code == 1 and "edgetl-runtime install" in read_only.err
    assert say("install", golden.BUNDLE).code == 0
    assert "kept aside as state.sqlite.corrupt-1" in say("status").out


def test_predict_reads_beside_a_process_that_learns(say: Any, state: str, images: Path) -> None:
    with golden.opened(Path(state), None) as session:
        session.learn(FRAMES[0], "1")
        predicted = say("predict", images / LABELS[0] / "000.png", "--json").document
        assert predicted["predictions"][0]["generation"] == 1
        busy = say("learn", images)
        assert busy.code == 1 and "another session is learning" in busy.err


def test_file_names_that_are_no_text_are_printed_all_the_same(tmp_path: Path, state: str) -> None:
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9.png"
    Image.fromarray(FRAMES[0]).save(str(tmp_path / "a.png"))
    try:
        os.rename(os.fsencode(str(tmp_path / "a.png")), name)  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes no such name")
    code, out, err = child("predict", os.fsdecode(name), "--allow-unsigned", "--state", state)
    assert code == 0, err
    assert "caf" in out and "Traceback" not in err


def test_a_reader_that_goes_away_is_no_traceback(state: str, images: Path) -> None:
    script = '"$0" -m edgetl_runtime.cli predict "$1" --state "$2" --allow-unsigned | head -n 1'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["sh", "-c", script, sys.executable, str(images), state]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_trust_lists_what_was_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    public = tmp_path / "signing.pub"
    public.write_bytes(
        ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    folder = str(tmp_path / "state")
    assert main(["trust", "add", str(public), "--state", folder, "--json"]) == 0
    (identity,) = json.loads(capsys.readouterr().out)["trusted"]
    assert main(["trust", "list", "--state", folder]) == 0
    assert identity in capsys.readouterr().out


def test_forgetting_says_that_it_was_exact(say: Any, images: Path) -> None:
    say("learn", images / "1", "--label", "new", "--json")
    assert say("forget", "--label", "new", "--json").document["exact"] is True
    say("learn", images / "1", "--label", "new", "--json")
    assert "samples, exactly;" in say("forget", "--label", "new").out


def test_merging_says_that_it_was_exact(
    say: Any, state: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say("learn", images / "1", "--label", "new", "--json")
    assert main(["merge", state, state, "-o", str(tmp_path / "fleet")]) == 0
    assert "samples, merged exactly" in capsys.readouterr().out
    assert main(["merge", state, state, "-o", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exact"] is True


def test_a_decision_is_explained_in_words_and_as_data(say: Any, images: Path) -> None:
    learnt = say("learn", images / "2", "--source", "roof", "--label", "2", "--json").document["learnt"]
    picture = sorted((images / "2").glob("*.png"))[0]
    (document,) = say("explain", picture, "--json", "--neighbours", 2).document
    assert document["evidence"][0]["label"] == document["label"] and len(document["evidence"]) >= 9
    assert document["neighbours"][0]["number"] in learnt and len(document["neighbours"]) == 2
    words = say("explain", picture).out
    assert words.startswith(f"{picture}: {document['label']}") and "2 from roof, cosine 1.000" in words
    broken = say("explain", images / "1" / "broken.png")
    assert broken.code == 1 and "none of the files" in broken.err


def test_a_line_of_numbers_without_an_image_or_a_number_is_named(tmp_path: Path) -> None:
    table = tmp_path / "drive.csv"
    for line, what in (("0.5", "line 3: there is no path"), ("much,b.png", "line 3: each of angle must be a number")):
        table.write_text(f"angle,path\n0.25,a.png\n{line}\n")
        with pytest.raises(SourceError, match=what):
            image_targets([str(table)], ["angle"], {})
    table.write_text("angle,path\n0.25,a.png\n\n")
    assert image_targets([str(table)], ["angle"], {}) == [(tmp_path / "a.png", {"angle": 0.25})]
