"""MCSAN: its score is the paper's sum over levels, every row of its table trains, and a folder holds all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch
from test_lexicon import EXPECTED, RecordedParser

from mmi_tvr import models, plugins
from mmi_tvr.config import Section, merge
from mmi_tvr.encoders import e5
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.lexicon.labels import labels as labels_of
from mmi_tvr.models.mcsan import VARIANTS, captions
from mmi_tvr.models.mcsan.model import VOCABULARIES, WEIGHTS_FILE, Mcsan
from mmi_tvr.models.mcsan.options import Options
from mmi_tvr.nn import losses
from mmi_tvr.nn.hole import correlation
from mmi_tvr.nn.levels import pool_frames
from mmi_tvr.protocols import LabellingModel, ModelWithAttributes, ModelWithLabels, RemarkingModel
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.train import settings as run_settings
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.protocol import ModelWithBatchTerms, ModelWithSimilarity
from mmi_tvr.types import FacetCalibration, FacetThreshold, Features, Labels, Query, Sample, Triplet, Video

CONFIG = Path(__file__).parents[1] / "configs" / "mcsan-moving-shapes.yaml"
SMALL = {"width": 8, "heads": 2, "word_width": 6, "graph": "attention", "labels": "exact", "dropout": 0.0}
CAPTIONS = ("a dog runs", "the cat sleeps on the mat", "a dog chases the cat", "nothing happens")
LABELS = (
    Labels(("dog",), ("run",), (Triplet("dog", "run", ""),)),
    Labels(("cat", "mat"), ("sleep",), (Triplet("cat", "on", "mat"),)),
    Labels(("dog", "cat"), ("chase",), (Triplet("dog", "chase", "cat"),)),
    Labels(),
)
WIDTH = 24  # of the towers' common space
WEIGHTS = {"contrastive": 1.0, "ranking": 1.0, "attributes": 0.5, "distribution": 2.0}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_towers.make("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture
def model(towers: Path) -> Mcsan:
    return prepared(towers)


def prepared(towers: Path, changes: Mapping[str, Any] | None = None) -> Mcsan:
    torch.manual_seed(0)
    model = Mcsan(Options(**merge({**SMALL, "vision": str(towers)}, changes or {})), "cpu")
    model.prepare(CAPTIONS, LABELS)
    return model


def videos(counts: Sequence[int] = (3, 1, 12, 9)) -> list[Features]:
    random = np.random.default_rng(1)
    features = []
    for count in counts:
        images = random.standard_normal((count, WIDTH)).astype(np.float32)
        segments = np.stack([np.arange(count), np.arange(count) + 1, np.arange(count) + 0.5], axis=1).astype(float)
        features.append(Features(segments, {"image": images / np.linalg.norm(images, axis=1, keepdims=True)}))
    return features


def batch_of(model: Mcsan) -> dict[str, Any]:
    batch = model.batch(CAPTIONS, videos(), [0, 1, 2, 0])
    video_labels = [LABELS[0], LABELS[1], LABELS[2], LABELS[0]]
    return {"ids": list("abcd"), **batch, "labels": model.label_batch(LABELS, video_labels)}


def gradients(model: Mcsan, weights: Mapping[str, float], chunk: int | None) -> dict[str, torch.Tensor | None]:
    network = model.network.train()
    network.zero_grad()
    objective = Objective(network, losses.Temperature(), chunk=chunk, bf16=False, device=torch.device("cpu"))
    objective.backward(batch_of(model), weights)
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_the_score_is_the_mean_of_a_sigmoid_of_hole_and_three_cosines(model: Mcsan) -> None:
    network, batch = model.network, batch_of(model)
    with torch.no_grad():
        torch.nn.init.normal_(network.hole.weight, std=3.0)
        network.similarities.offsets[0] = -1.5
        text, text_levels = network.texts(batch["text"])
        video, video_levels = network.videos(batch["video"])
        scores = network.similarity(text, video, "t2v")
        for row in range(4):
            for column in range(4):
                unit = {
                    name: [side[name][place] / side[name][place].norm() for side, place in sides]
                    for name in text_levels
                    for sides in [((video_levels, column), (text_levels, row))]
                }
                z = network.hole.weight @ correlation(*unit.pop("global")) - 1.5
                expected = (torch.sigmoid(z) + sum(v @ t for v, t in unit.values())) / 4
                assert float(scores[row, column]) == pytest.approx(float(expected), abs=1e-5)
    embedded = model.embed_videos(videos())
    np.testing.assert_allclose(np.stack([one.video for one in embedded]), video.numpy(), atol=1e-5)
    assert model.scoring.blocks[0].squash == pytest.approx(-1.5)
    samples = [Sample(str(n), Video(Path(str(n))), (CAPTIONS[n],)) for n in range(4)]
    queries = model.embed_queries([Query(caption) for caption in CAPTIONS])
    report = evaluate(samples, embedded, queries, model.scoring, model="mcsan")
    order = scores.argsort(dim=1, descending=True)
    ranks = [int((order[n] == n).nonzero()) + 1 for n in range(4)]
    assert report.t2v.r1 == pytest.approx(100 * np.mean([rank == 1 for rank in ranks]))


def test_vectors_do_not_depend_on_the_other_pairs_of_a_batch(model: Mcsan) -> None:
    together = model.embed_videos(videos())
    for one, video in zip(together, videos(), strict=True):
        (alone,) = model.embed_videos([video])
        np.testing.assert_allclose(one.video, alone.video, atol=1e-6)
        np.testing.assert_allclose(one.moments, alone.moments, atol=1e-6)
    queries = [Query(caption) for caption in CAPTIONS]
    rows = np.concatenate([model.embed_queries([query]) for query in queries])
    np.testing.assert_allclose(model.embed_queries(queries), rows, atol=1e-5)


def test_tokens_of_the_tower_stand_for_words(towers: Path, tmp_path: Path) -> None:
    plain, model = prepared(towers), prepared(towers, {"graph": "tokens"})
    queries = [Query(caption) for caption in (*CAPTIONS, "一只狗", "", "a dog " * 60)]
    texts = [query.text for query in queries]
    batch = model._texts(texts)
    np.testing.assert_allclose(batch["sentence"], plain._texts(texts)["sentence"], atol=1e-5)
    rows = np.concatenate([model.embed_queries([query]) for query in queries])
    np.testing.assert_allclose(model.embed_queries(queries), rows, atol=1e-5)  # padding counts for nothing
    levels = model.network.text_levels
    with torch.no_grad():
        scaled = {**batch, "tokens": 7 * batch["tokens"]}
        assert torch.allclose(levels(scaled)["relation"], levels(batch)["relation"], atol=1e-5)
        other = {**batch, "tokens": batch["tokens"].roll(1, dims=0), "mask": batch["mask"].roll(1, dims=0)}
        for name in ("entity", "action", "relation"):
            assert torch.allclose(levels(other)[name], levels(batch)[name].roll(1, dims=0), atol=1e-5)
    by_parameter = gradients(model, WEIGHTS, None)
    assert all(gradient is not None and gradient.any() for gradient in by_parameter.values())
    assert model.lexicon.words == ()
    assert not any("words" in name for name in by_parameter)
    assert model.characters_read(texts[-1]) == model.towers.characters_read(texts[-1])
    model.save(tmp_path)
    loaded = models.make(models.section(str(tmp_path)), "cpu")
    np.testing.assert_allclose(loaded.embed_queries(queries), model.embed_queries(queries), atol=1e-6)
    with pytest.raises(UsageError, match="no words are read; leave it out"):
        plugins.options("models", "mcsan", {"vision": "x", "graph": "tokens", "word_vectors": "glove.txt"})


def test_levels_of_a_video_read_scaled_key_images_and_what_changed(towers: Path) -> None:
    sides = prepared(towers, {"differences": True}).network.video_levels
    given = videos()
    assert len(given) == 4
    with torch.no_grad():
        for video in given:
            images = torch.from_numpy(video.arrays["image"])[None]
            mask = torch.ones(images.shape[:2], dtype=torch.bool)
            levels = sides(images, mask)
            frames = images * WIDTH**0.5
            changes = torch.stack([frames[0, k] - frames[0, max(k - 1, 0)] for k in range(frames.shape[1])])[None]
            both = torch.cat([frames, changes], dim=-1)
            action = pool_frames(sides.action(sides.inputs["action"](both), mask), mask)
            entity = pool_frames(sides.entity(sides.inputs["entity"](frames), mask), mask)
            assert torch.allclose(levels["global"], sides.reader(sides.attention(frames, mask), mask), atol=1e-5)
            assert torch.allclose(levels["entity"], entity, atol=1e-5)
            assert torch.allclose(levels["action"], action, atol=1e-5)
            assert torch.allclose(levels["relation"], sides.relation(sides.inputs["relation"](both), mask), atol=1e-5)


def test_a_level_that_sees_nothing_still_has_its_length(model: Mcsan) -> None:
    with torch.no_grad():
        model.network.video_levels.entity.balance.zero_()
    embedded = model.embed_videos(videos())
    assert len(embedded) == 4
    for one in embedded:
        assert np.linalg.norm(one.video) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(one.moments, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_network_offers_what_the_train_room_asks_for(model: Mcsan) -> None:
    assert isinstance(model, ModelWithLabels)
    assert isinstance(model.network, ModelWithSimilarity)
    assert isinstance(model.network, ModelWithBatchTerms)


@pytest.mark.parametrize("name", [name for name, row in VARIANTS.items() if row.baseline is None])
def test_every_row_of_the_table_trains_all_that_it_has(name: str, towers: Path) -> None:
    row = VARIANTS[name]
    model = prepared(towers, {**row.changes, "differences": True})
    weights = {term: weight for term, weight in WEIGHTS.items() if term not in row.without_terms}
    by_parameter = gradients(model, weights, None)
    idle = {parameter for parameter, gradient in by_parameter.items() if gradient is None or not gradient.any()}
    heads = {parameter for parameter in by_parameter if parameter.startswith("heads.")}
    assert idle == (heads if "attributes" in row.without_terms else set())


def test_probabilities_of_labels_are_those_of_the_heads(model: Mcsan) -> None:
    assert isinstance(model, LabellingModel)
    assert model.label_counts()["entity"] == {"cat": 2, "dog": 2, "mat": 1}
    read = model.label_probabilities(videos())
    with torch.no_grad():
        batch = batch_of(model)
        for level, feature in model.network.videos(batch["video"])[1].items():
            if level != "global":
                head = model.network.heads.video[level]
                expected = torch.sigmoid(feature @ head.weight.T + head.bias)
                np.testing.assert_allclose(read[level], expected.numpy(), atol=1e-6)
                assert read[level].shape == (4, len(model.label_counts()[level]))


def test_gradient_caching_is_the_plain_gradient(model: Mcsan) -> None:
    plain, cached = (gradients(model, WEIGHTS, chunk) for chunk in (None, 2))
    assert 0 < len(plain) == len(cached)
    for name, gradient in plain.items():
        assert gradient is not None, name
        largest = float(gradient.abs().max().clamp(min=1e-3))
        assert float((cached[name] - gradient).abs().max()) / largest < 1e-5, name


@pytest.mark.parametrize("changes", [{}, {"focal": False}, {"mask_siblings": True}, {"shared_heads": False}])
def test_terms_over_labels_are_their_plain_sums(changes: Mapping[str, Any], towers: Path) -> None:
    model = prepared(towers, changes)
    network, batch = model.network, batch_of(model)
    with torch.no_grad():
        terms = network.batch_terms(network.embed_batch(batch), ["attributes", "distribution"])
        attributes = distribution = 0.0
        levels = {"text": network.texts(batch["text"])[1], "video": network.videos(batch["video"])[1]}
        for level, kind in (("entity", "entities"), ("action", "actions"), ("relation", "relations")):
            for side in ("text", "video"):
                probabilities = torch.sigmoid(network.heads(level, levels[side][level], side))
                labels, total = batch["labels"][side][kind], 0.0
                for (row, column), p in np.ndenumerate(probabilities.numpy()):
                    y, focal = bool(labels[row, column]), changes.get("focal", True)
                    masked = side == "text" and not y and bool(batch["labels"]["video"][kind][row, column])
                    if changes.get("mask_siblings") and masked:
                        continue
                    right = p if y else 1 - p
                    factor = ((0.25 if y else 0.75) * (1 - right) ** 2) if focal else 1.0
                    total -= factor * np.log(right)
                attributes += total / float(labels.sum())
            t, v = (levels[side][level].softmax(dim=1) for side in ("text", "video"))
            distribution += float((t * (t.log() - v.log())).sum()) / len(t)
    assert float(terms["attributes"]) == pytest.approx(attributes, rel=1e-4)
    assert float(terms["distribution"]) == pytest.approx(distribution, rel=1e-4)


def test_a_folder_holds_weights_words_and_labels(model: Mcsan, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save(tmp_path / "run", {"name": "uniform", "count": 3})
    section = models.section(str(tmp_path / "run"))
    assert section.name == "mcsan"
    loaded = models.make(section, "cpu")
    assert loaded.scoring == model.scoring  # the learned offset is read before the network is
    assert models.key_images(section) == Section(name="uniform", count=3)
    queries = [Query(caption) for caption in (*CAPTIONS, "一只狗", "")]
    np.testing.assert_array_equal(loaded.embed_queries(queries), model.embed_queries(queries))
    np.testing.assert_array_equal(loaded.embed_videos(videos())[2].moments, model.embed_videos(videos())[2].moments)
    assert {path.name for path in models.trained_files("mcsan", tmp_path / "run")} == {WEIGHTS_FILE, VOCABULARIES}
    again = models.trainable(section, "cpu")
    assert isinstance(again, Mcsan)
    again.prepare(CAPTIONS, LABELS)
    assert again.lexicon == model.lexicon
    with pytest.raises(UsageError, match="of another corpus"):
        again.prepare(["x"], [Labels(("tree",), ("grow",))])
    before = loaded.fingerprint()
    document = json.loads((tmp_path / "run" / VOCABULARIES).read_text())
    document["words"].reverse()
    (tmp_path / "run" / VOCABULARIES).write_text(json.dumps(document))
    assert models.make(section, "cpu").fingerprint() != before


@pytest.mark.parametrize("similarity", ["hole", "linear", "cosine"])
def test_learned_weights_of_levels_are_those_of_the_search(similarity: str, towers: Path, tmp_path: Path) -> None:
    model = prepared(towers, {"fusion": "learned", "global_similarity": similarity})
    network, batch = model.network, batch_of(model)
    with torch.no_grad():
        network.similarities.fusion.copy_(torch.tensor([1.0, 0.0, -1.0, 0.5]))
        if network.hole is not None:
            torch.nn.init.normal_(network.hole.weight, std=3.0)
        (text, text_levels), (video, video_levels) = network.texts(batch["text"]), network.videos(batch["video"])
        scores = network.similarity(text, video, "t2v")
        shares = torch.tensor([1.0, 0.0, -1.0, 0.5]).softmax(dim=0)
        v, t = (torch.nn.functional.normalize(side.pop("global"), dim=1) for side in (video_levels, text_levels))
        whole = t @ v.T
        if network.hole is not None:
            z = torch.stack([torch.stack([network.hole.weight @ correlation(one, text) for one in v]) for text in t])
            whole = torch.sigmoid(z - 2) if similarity == "hole" else z / network.hole.weight.norm()
        expected = shares[0] * whole
        for share, name in zip(shares[1:], video_levels, strict=True):
            v, t = (torch.nn.functional.normalize(side[name], dim=1) for side in (video_levels, text_levels))
            expected += share * t @ v.T
    assert torch.allclose(scores, expected, atol=1e-5)
    model.save(tmp_path)
    loaded = models.make(models.section(str(tmp_path)), "cpu")
    assert loaded.scoring == model.scoring  # before the network is loaded
    vectors = np.stack([one.video for one in loaded.embed_videos(videos())])
    queries = loaded.embed_queries([Query(caption) for caption in CAPTIONS])
    np.testing.assert_allclose(similarities(queries, vectors, loaded.scoring), expected.numpy(), atol=1e-5)
    plain = prepared(towers, {"global_similarity": similarity})
    assert [block.t2v for block in plain.scoring.blocks] == [0.25] * 4


@pytest.mark.parametrize("file", [WEIGHTS_FILE, VOCABULARIES])
def test_a_damaged_folder_is_one_line(file: str, model: Mcsan, tmp_path: Path) -> None:
    model.save(tmp_path)
    for damage in (lambda path: path.write_bytes(b"{"), lambda path: path.unlink()):
        damage(tmp_path / file)
        with pytest.raises(ModelNotFound) as caught:
            models.make(models.section(str(tmp_path)), "cpu").embed_queries([Query("a dog")])
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        if file == WEIGHTS_FILE:
            with pytest.raises(ModelNotFound, match="missing or damaged"):
                _ = models.make(models.section(str(tmp_path)), "cpu").scoring


def test_weights_of_another_width_are_one_line(model: Mcsan, tmp_path: Path) -> None:
    model.save(tmp_path)
    with pytest.raises(ModelNotFound, match="of another size"):
        models.make(Section(name="mcsan", weights=str(tmp_path), width=16), "cpu").embed_queries([Query("a dog")])


def test_without_training_it_says_what_to_do(towers: Path) -> None:
    untrained = models.make(Section(name="mcsan", vision=str(towers)), "cpu")
    with pytest.raises(ModelNotFound, match="knows no words yet: name trained weights"):
        untrained.embed_queries([Query("a dog")])


def test_role_graphs_tell_verbs_from_nouns(towers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(captions, "SpacyParser", RecordedParser)
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    texts = [*EXPECTED, "哪里"]  # the last one is not parsed: no nodes
    parser = RecordedParser()
    caption_labels = [labels_of(parsed) for parsed in parser.parse(texts)]
    torch.manual_seed(0)
    model = Mcsan(Options(**{**SMALL, "vision": str(towers), "graph": "roles"}), "cpu")
    model.prepare(texts, caption_labels)
    batch = model._texts(texts)
    network = model.network.eval()
    with torch.no_grad():
        levels = network.text_levels(batch)
        words = network.text_levels.words(batch["words"])
        states = network.text_levels.reader(words, batch["words"] > 0)
        for row in range(len(texts)):
            masks = batch["graph"]["masks"][row, :, : states.shape[1]]
            graph = [array[row : row + 1] for array in (masks[None].expand(len(texts), -1, -1),)]
            nodes = network.text_levels.graph(
                states[row : row + 1], graph[0], batch["graph"]["roles"][row : row + 1],
                batch["graph"]["edges"][row : row + 1],
            )[0]  # fmt: skip
            mean = states[row, : int((batch["words"][row] > 0).sum())].mean(dim=0)
            for name, part in (("action", range(4)), ("entity", range(4, 10))):
                present = [nodes[node] for node in part if masks[node].any()]
                expected = torch.stack(present).mean(dim=0) if present else mean
                assert torch.allclose(levels[name][row], expected, atol=1e-6)
    assert batch["graph"]["masks"].any(dim=-1)[:, :4].sum() > 3
    new = model.embed_queries([Query("some cartoon characters are dancing")])  # not among the remembered ones
    assert np.isfinite(new).all()
    counts = RecordedParser()
    monkeypatch.setattr(captions, "SpacyParser", lambda: counts)
    model._texts(texts)
    assert counts.asked_for == 0  # what a training reads often is parsed once


def test_the_settings_file_and_every_row_of_the_table_are_valid() -> None:
    settings = run_settings.load(CONFIG)
    terms = set(settings.train.terms())
    rows = models.variants("mcsan")
    assert {"full", "global"} <= rows.keys()
    for name, row in rows.items():
        if row.baseline is None:
            options = plugins.options("models", "mcsan", merge(settings.model.options, row.changes))
            assert row.without_terms <= terms, name
            assert options.levels
        else:
            section = row.baseline(settings.model.options)
            plugins.options("models", section.pop("name"), section)


def test_options_that_cannot_be_are_one_line() -> None:
    for wrong, message in (
        ({"heads": 3}, "must divide"),
        ({"levels": ["global", "global"]}, "named twice"),
        ({"levels": []}, "at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            plugins.options("models", "mcsan", {"vision": "x", "width": 16, **wrong})


def test_word_vectors_of_another_width(towers: Path, tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text("dog 1 2 3 4\ncat 1 0 0 0\n")
    model = prepared(towers, {"word_vectors": str(tmp_path / "glove.txt")})
    with pytest.raises(UsageError, match="make them equal"):
        _ = model.network
    model = prepared(towers, {"word_vectors": str(tmp_path / "glove.txt"), "word_width": 4})
    row = model.lexicon.words.index("dog") + 2
    assert model.network.text_levels.words.weight[row].tolist() == [1, 2, 3, 4]
    model.save(tmp_path / "run")
    (tmp_path / "glove.txt").unlink()  # the folder has the rows
    assert "glove" not in (tmp_path / "run" / "model.json").read_text()
    loaded = models.make(models.section(str(tmp_path / "run")), "cpu")
    queries = [Query(caption) for caption in CAPTIONS]
    np.testing.assert_array_equal(loaded.embed_queries(queries), model.embed_queries(queries))


def test_word_vectors_of_e5(towers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5, "encode", lambda texts: np.full((len(texts), 5), 0.5, np.float32))
    model = prepared(towers, {"word_vectors": "e5", "word_width": 5})
    rows = model.network.text_levels.words.weight
    assert rows[2:].eq(0.5).all()
    assert rows[:2].eq(0).all()
    with pytest.raises(UsageError, match="those of e5 have 5 numbers, and word_width is 6"):
        _ = prepared(towers, {"word_vectors": "e5"}).network


def test_attributes_are_what_the_heads_read_off(towers: Path, tmp_path: Path) -> None:
    model = prepared(towers, {"shared_heads": False})
    assert isinstance(model, ModelWithAttributes)
    assert dict(model.attribute_names()) == {
        "entity": ("cat", "dog", "mat"),
        "action": ("chase", "run", "sleep"),
        "relation": ("cat on mat", "dog chase cat", "dog run"),
    }
    batch = batch_of(model)
    with torch.no_grad():
        levels = {"text": model.network.texts(batch["text"])[1], "video": model.network.videos(batch["video"])[1]}
    read = {
        "text": model.query_attributes([Query(caption) for caption in CAPTIONS]),
        "video": [one.attributes for one in model.embed_videos(videos())],
    }
    for side, attributes in read.items():
        for level, names in model.attribute_names().items():
            expected = torch.sigmoid(model.network.heads(level, levels[side][level], side)).detach().numpy()
            for row, one in enumerate(attributes):
                assert list(one[level].values()) == sorted(one[level].values(), reverse=True)
                assert [one[level][name] for name in names] == pytest.approx(expected[row].tolist(), abs=1e-5)
    assert prepared(towers, {"levels": ["global"]}).attribute_names() == {}
    model.save(tmp_path)
    loaded = models.make(models.section(str(tmp_path)), "cpu")
    assert loaded.facet_calibration() is None
    calibration = FacetCalibration(0.9, "x", {"entity": {"dog": FacetThreshold(0.3, 0.95, 50, True)}}, {})
    models.write_facets(tmp_path, calibration, loaded.fingerprint())
    assert loaded.facet_calibration() == calibration
    assert models.FACETS in {path.name for path in models.trained_files("mcsan", tmp_path)}  # travels to the hub
    with torch.no_grad():
        model.network.video_levels.entity.balance.zero_()
    model.save(tmp_path)  # trained on: what was measured is of other weights
    assert models.make(models.section(str(tmp_path)), "cpu").facet_calibration() is None


def test_a_query_that_it_cannot_read_gets_a_remark(
    towers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = prepared(towers)
    assert isinstance(model, RemarkingModel)
    assert model.query_remarks(Query("a dog in a spaceship")) == []
    [remark] = model.query_remarks(Query("一只狗"))
    assert remark.startswith("the model knows none of the words of this query")
    assert remark.endswith("of entity, action, relation it says nothing")
    for changes in ({"levels": ["global"]}, {"graph": "tokens"}):
        assert prepared(towers, changes).query_remarks(Query("一只狗")) == []
    monkeypatch.setattr(captions, "SpacyParser", RecordedParser)
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    graphs = Mcsan(Options(**{**SMALL, "vision": str(towers), "graph": "roles"}), "cpu")
    by_text = {
        text: labels_of(parsed) for text, parsed in zip(EXPECTED, RecordedParser().parse([*EXPECTED]), strict=True)
    }
    graphs.prepare([*by_text], [*by_text.values()])
    no_verb = ["the query has no verb: its action is read off all its words"]
    with_verb = [text for text, labels in by_text.items() if labels.actions]
    assert len(with_verb) > 3
    assert [graphs.query_remarks(Query(text)) for text in with_verb] == [[]] * len(with_verb)
    bare = graphs._captions.read(with_verb[:1])[0]
    no_nodes = bare.graph._replace(masks=np.zeros_like(bare.graph.masks))
    monkeypatch.setattr(graphs._captions, "read", lambda _: [captions.ReadCaption(bare.words, no_nodes)])
    assert graphs.query_remarks(Query("a red ring")) == no_verb
