"""Text with few labels: a frozen sentence encoder and this head against TF-IDF, on real commands and real sentiment.

    python -m benchmarks.text            prints the tables and writes build/evidence/text.json

Commands: 25 intents of Home Assistant, learnt from some of their templates and judged on others, from nothing, and from
the names of the intents alone. Sentiment: learnt from film reviews, then moved to product reviews, news and tweets.
TF-IDF with logistic regression (scikit-learn) gets the same labels, and of three settings the one that is best on
the judging part itself. Draws are the same for all. What is absent is downloaded: see benchmarks/text_data.py.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from pathlib import Path

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import edgetl
from benchmarks.evidence import write_evidence
from benchmarks.text_data import Texts, embedded, encoder_folder, intents, sentiment
from edgetl.building.class_vectors import WEIGHT, ClassVectors
from edgetl.building.factory_head import make_head_member
from edgetl.extraction import ExtractedPart

LABELS = (0, 1, 3, 5, 10, 20, 50)
DRAWS = 5
TOKENS = {"intents": 24, "sentiment": 48}
SENTENCES = 700  # of each domain
LETTERS = {"analyzer": "char_wb", "ngram_range": (2, 4)}
SETTINGS = ({"analyzer": "word"}, 1.0), ({"analyzer": "word"}, 10.0), (LETTERS, 10.0)
SPACE = "text"
FROM = ("source and labels", "source and labels, ridge", "from nothing", "names")
SENTIMENT_NAMES = {"positive": "this is great, I love it", "negative": "this is terrible, I hate it"}
NOTHING = ExtractedPart(np.zeros((0, 384), np.float32), [], [], [], 0)


class Part:
    """Texts with features and labels."""

    def __init__(self, texts: list[str], features: np.ndarray, labels: list[str]) -> None:
        self.texts, self.features, self.labels = np.array(texts, object), features, np.array(labels)

    def rows(self, rows: np.ndarray) -> Part:
        return Part(list(self.texts[rows]), self.features[rows], list(self.labels[rows]))

    def plus(self, other: Part) -> Part:
        features = np.concatenate([self.features, other.features])
        return Part([*self.texts, *other.texts], features, [*self.labels, *other.labels])

    def drawn(self, count: int, seed: int) -> Part:
        """At most `count` of each class."""
        rng = np.random.default_rng(seed)
        chosen = [rng.permutation(np.flatnonzero(self.labels == c))[:count] for c in sorted(set(self.labels))]
        return self.rows(np.concatenate(chosen))


def right(said: object, part: Part) -> float:
    return 100.0 * float(np.mean(np.asarray(said) == part.labels))


def tfidf(known: Part, test: Part) -> list[float]:
    """Accuracy of each setting."""
    found = []
    for options, strength in SETTINGS:
        words = TfidfVectorizer(sublinear_tf=True, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one label a class looks like regression to it
            model = LogisticRegression(C=strength, max_iter=1000).fit(words.fit_transform(known.texts), known.labels)
        found.append(right(model.predict(words.transform(test.texts)), test))
    return found


def counted(part: Part, shift: np.ndarray) -> Statistics:
    statistics = Statistics(part.features.shape[1], shift, SPACE)
    if len(part.labels):
        statistics.add(part.features, [str(label) for label in part.labels])
    return statistics


def learnt(known: Part, prior: Statistics | None, test: Part, head: str = "slda") -> float:
    """The head of a device with that factory statistics (None: from nothing)."""
    shift = known.features.mean(axis=0) if prior is None else prior.shift
    return right(fit_head(head, counted(known, shift), prior).predict(test.features), test)


def named_statistics(names: dict[str, str], tokens: int, source: Part | None = None) -> Statistics:
    """What `edgetl.build(class_names=...)` puts into the bundle."""
    order = sorted(names)
    rows = embedded([names[name] for name in order], tokens)
    part = NOTHING if source is None else ExtractedPart(source.features, [str(x) for x in source.labels], [], [], 0)
    base = ExtractedPart(rows, ["background"] * len(rows), [], [], 0) if source is None else part
    named = ClassVectors(tuple(order), rows, WEIGHT)
    return make_head_member("slda", {}, SPACE, base, NOTHING, named, source is not None).source


def summary(figures: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {name: {"mean": float(np.mean(v)), "sd": float(np.std(v))} for name, v in figures.items() if v}


def split_by_template(data: Texts, features: np.ndarray, seed: int) -> tuple[Part, Part]:
    """Half of the templates of each intent to learn from, the others to be judged on."""
    rng, labels, templates = np.random.default_rng(seed), np.array(data.labels), np.array(data.templates)
    test = np.zeros(len(labels), bool)
    for label in sorted(set(data.labels)):
        own = np.unique(templates[labels == label])
        test |= (labels == label) & np.isin(templates, rng.permutation(own)[: len(own) // 2])
    whole = Part(list(data.texts), features, list(data.labels))
    return whole.rows(np.flatnonzero(~test)), whole.rows(np.flatnonzero(test))


def run_intents() -> dict:
    data, tokens = intents(), TOKENS["intents"]
    features = embedded(data.texts, tokens)
    names = {label: label for label in sorted(set(data.labels))}
    prior = named_statistics(names, tokens)
    rows: dict[int | str, dict[str, list[float]]] = {}
    for draw in range(DRAWS):
        pool, test = split_by_template(data, features, draw)
        for count in (*LABELS, "all"):
            row = rows.setdefault(count, {})
            known = pool if count == "all" else pool.drawn(int(count), 100 * draw + int(count)) if count else None
            if known is None:
                commonest = max(set(pool.labels), key=list(pool.labels).count)
                row.setdefault("majority", []).append(right([commonest] * len(test.labels), test))
                for name, head in (("names", "slda"), ("names, ridge", "ridge")):
                    row.setdefault(name, []).append(learnt(pool.rows(np.zeros(0, int)), prior, test, head))
                continue
            for setting, accuracy in enumerate(tfidf(known, test)):
                row.setdefault(f"tfidf {setting}", []).append(accuracy)
            row.setdefault("from nothing", []).append(learnt(known, None, test))
            row.setdefault("names", []).append(learnt(known, prior, test))
            row.setdefault("names, ridge", []).append(learnt(known, prior, test, "ridge"))
    told = {str(count): summary(row) for count, row in rows.items()}
    print(f"\nCommands: {len(data.texts)} sentences of {len(names)} intents, judged on templates never learnt from;")
    print(f"% right, mean of {DRAWS} draws (deviation). Always the commonest: {mean(told['0'], 'majority')} %")
    print(f"{'labels a class':<16}{'TF-IDF + LR':>16}{'from nothing':>16}{'from the names':>18}{'the same, ridge':>18}")
    for count in (*LABELS, "all"):
        row = told[str(count)]
        cells = f"{shown(row, 'from nothing'):>16}{shown(row, 'names'):>18}{shown(row, 'names, ridge'):>18}"
        print(f"{count!s:<16}{best(row):>16}{cells}")
    return {"sentences": len(data.texts), "classes": len(names), "labels": told}


def run_sentiment() -> dict:
    tokens, domains = TOKENS["sentiment"], {}
    for name, texts in sentiment().items():
        chosen = np.random.default_rng(0).permutation(len(texts.texts))[:SENTENCES]
        said = [texts.texts[i] for i in chosen]
        domains[name] = Part(said, embedded(said, tokens), [texts.labels[i] for i in chosen])
    source = domains.pop("movies")
    prior = counted(source, source.features.mean(axis=0))
    by_name = named_statistics(SENTIMENT_NAMES, tokens)
    found = {}
    print(f"\nSentiment: from {SENTENCES} film reviews to another domain; % right, mean of {DRAWS} draws (deviation)")
    for domain, part in domains.items():
        rows: dict[int | str, dict[str, list[float]]] = {}
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(part.labels))
            pool, test = part.rows(order[: len(order) // 2]), part.rows(order[len(order) // 2 :])
            for count in (*LABELS, "all"):
                row = rows.setdefault(count, {})
                empty = pool.rows(np.zeros(0, int))
                known = pool if count == "all" else pool.drawn(int(count), 100 * draw + int(count)) if count else empty
                for setting, accuracy in enumerate(tfidf(source.plus(known), test)):
                    row.setdefault(f"tfidf {setting}", []).append(accuracy)
                row.setdefault("source and labels", []).append(learnt(known, prior, test))
                row.setdefault("source and labels, ridge", []).append(learnt(known, prior, test, "ridge"))
                row.setdefault("names", []).append(learnt(known, by_name, test))
                if count:
                    row.setdefault("from nothing", []).append(learnt(known, None, test))
                else:
                    commonest = max(set(pool.labels), key=list(pool.labels).count)
                    row.setdefault("majority", []).append(right([commonest] * len(test.labels), test))
        found[domain] = told = {str(count): summary(row) for count, row in rows.items()}
        print(f"\n  {domain}: always the commonest {mean(told['0'], 'majority')} %")
        heads = ("films + labels", "the same, ridge", "labels alone", "from two phrases")
        print(f"  {'labels a class':<16}{'TF-IDF + LR, films + labels':>29}" + "".join(f"{h:>18}" for h in heads))
        for count in (*LABELS, "all"):
            row = told[str(count)]
            cells = [shown(row, name) for name in FROM]
            print(f"  {count!s:<16}{best(row):>29}" + "".join(f"{cell:>18}" for cell in cells))
    return found


def on_device(folder: Path, engine: str, asked: Part, taught: Part) -> tuple[dict, list[str]]:
    """Figures of one engine and all its answers; labels that come by themselves, and those given on purpose."""
    found: dict = {"ways": {}}
    said: list[str] = []
    for way, on_purpose in (("by themselves", False), ("on purpose", True)):
        state = folder / f"{engine} {way}"
        with rt.open(folder / "names.edgetl", state, allow_unsigned=True, engine=engine, threads=1) as session:
            before = session.predict_many(asked.texts)
            session.learn_many(taught.texts, list(taught.labels), on_purpose=on_purpose)
            verdict = session.review()
            after = session.predict_many(asked.texts)
            found["ways"][way] = {
                "right": right([one.label for one in after], asked), "verdict": verdict.decision, "why": verdict.reason,
                "generation": session.status()["generation"],
            }  # fmt: skip
        said += [str(one.label) for one in (*before, *after)]
    found["latency_ms"] = float(np.median([one.latency_ms for one in before]))
    found["names_right"] = right([one.label for one in before], asked)
    found["mean_probability"] = 100 * float(np.mean([max(one.probabilities.values()) for one in before]))
    return found, said


def run_bundle() -> dict:
    """The same on a device: a bundle that knows the names alone, opened, asked, taught five of each, and judged."""
    data, tokens = intents(), TOKENS["intents"]
    pool, test = split_by_template(data, embedded(data.texts, tokens), 0)
    names = sorted(set(data.labels))
    folder = Path(tempfile.mkdtemp(prefix="edgetl-text-"))
    figures: dict = {}
    try:
        started = time.perf_counter()
        source = edgetl.extractor(f"text:{encoder_folder()}", size=tokens)
        built = edgetl.build(source, class_names=names, out=folder / "names.edgetl", name="commands")
        figures["build_s"] = time.perf_counter() - started
        figures["bundle_mb"], figures["parity_max_rel"] = built.bundle_bytes / 1e6, built.parity.max_rel
        asked = test.rows(np.random.default_rng(0).permutation(len(test.labels))[:200])
        taught = pool.drawn(5, 5)
        taught = taught.rows(np.random.default_rng(0).permutation(len(taught.labels)))
        answers: dict[str, list[str]] = {}
        for engine in ("onnxruntime", "openvino"):
            try:
                figures[engine], answers[engine] = on_device(folder, engine, asked, taught)
            except rt.errors.EngineUnavailableError as error:
                figures[engine] = {"missing": str(error)}
        if len(answers) == 2:
            figures["decisions_alike"] = 100 * float(np.mean([a == b for a, b in zip(*answers.values(), strict=True)]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nA bundle that knows the names alone, on a device (policy guarded), 200 commands:")
    print(f"  built in {figures['build_s']:.0f} s, {figures['bundle_mb']:.0f} MB, graph within"
          f" {figures['parity_max_rel']:.1e} of torch")  # fmt: skip
    for engine in ("onnxruntime", "openvino"):
        told = figures[engine]
        if "missing" in told:
            print(f"  {engine}: {told['missing']}")
            continue
        print(
            f"  {engine}: {told['latency_ms']:.1f} ms a sentence of {tokens} tokens; names alone"
            f" {told['names_right']:.1f} % right ({told['mean_probability']:.0f} % sure)"
        )
        for way, one in told["ways"].items():
            print(f"    five labels of each {way}: generation {one['generation']}, {one['right']:.1f} % right;")
            print(f"      the guard: {one['verdict']}, {one['why']}")
    if "decisions_alike" in figures:
        print(f"  both engines decide {figures['decisions_alike']:.1f} % of all alike")
    return figures


def mean(row: dict, name: str) -> str:
    return f"{row[name]['mean']:.1f}"


def shown(row: dict, name: str) -> str:
    return f"{row[name]['mean']:.1f} ({row[name]['sd']:.1f})" if name in row else "-"


def best(row: dict) -> str:
    """Of the settings of TF-IDF the best on the judging part."""
    names = [name for name in row if name.startswith("tfidf")]
    return shown(row, max(names, key=lambda name: row[name]["mean"])) if names else "-"


def main() -> None:
    figures = {"intents": run_intents(), "sentiment": run_sentiment(), "bundle": run_bundle()}
    print(f"\nwritten: {write_evidence('text', figures).name}")


if __name__ == "__main__":
    main()
