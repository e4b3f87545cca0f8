"""Training on persons: what a sentence says of whom, with which picture, and what counts as right."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_towers
import torch
import train_toy
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.datasets import moving_things
from mmi_tvr.encoders.clip_words import ClipWordTowers
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.models import clip_pad
from mmi_tvr.models.clip_pad.network import ClipPadNetwork
from mmi_tvr.models.clip_pad.persons import ThingEncoder
from mmi_tvr.nn.losses import Temperature
from mmi_tvr.people.faces import fake
from mmi_tvr.people.faces.fake import FakeFaces
from mmi_tvr.people.portraits import Portraits, portraits
from mmi_tvr.protocols import PersonDataset, QueryDataset
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.persons import PersonBatches, PersonData, PersonMention, PersonValidation, handles_in, person_data
from mmi_tvr.train.persons_options import PersonOptions
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.types import Embeddings, EvaluationQuery, Features, Person, PersonPicture, Query, Sample, Scoring, Video
from mmi_tvr.utils import distributed
from mmi_tvr.utils.progress import Silent

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "clip-pad-moving-things.yaml"


def video(number: int) -> Video:
    return Video(Path(f"{number}.mp4"))


class Recorder:
    """A model whose batch is what it was given."""

    def query_batch(
        self, queries: Sequence[Query], features: Sequence[Any], numbers: Sequence[int]
    ) -> Mapping[str, Any]:
        return {"queries": list(queries), "groups": list(numbers), "features": list(features)}


def people(persons: int = 4, samples: int = 3) -> PersonData:
    """`samples` videos of each person, each with a picture of it; picture n of person p is the vector (p, n)."""
    owners = [f"p{number}" for number in range(persons) for _ in range(samples)]
    faces = {
        f"p{number}": (
            np.array([[number, place] for place in range(samples)], np.float32),
            [video(number * samples + place) for place in range(samples)],
        )
        for number in range(persons)
    }
    return PersonData(
        samples={row: (video(row), owner) for row, owner in enumerate(owners)},
        ids={row: str(row) for row in range(len(owners))},
        names={f"p{number}": f"Ann {number}" if number else "" for number in range(persons)},
        faces=faces,
        captions={row: [f"[{owner}] sings", f"[{owner}] naps"] for row, owner in enumerate(owners)},
        maker="test",
    )


def batches(options: Mapping[str, Any], batch: int = 6, epoch: int = 0, skip: int = 0, seed: int = 0) -> list[Any]:
    data = people()
    loader = PersonBatches(
        cast("Any", Recorder()), data, cast("Any", range(12)), PersonOptions(**options), batch=batch, seed=seed
    )
    return list(loader.epoch(epoch, skip))


def test_a_face_is_of_another_picture_of_the_same_person_unless_the_leak_is_asked_for() -> None:
    for same in (False, True):
        given = batches({"mix": {"image": 1}, "same_picture": same})
        assert len(given) == 2
        for batch in given:
            for row, query in zip(batch["features"], batch["queries"], strict=True):
                [(handle, person)] = query.persons.items()
                assert query.text == f"an image of [{handle}]"
                [[owner, place]] = person.faces.tolist()
                assert owner == row // 3
                assert (place == row % 3) == same
                assert person.maker == "test"


def test_persons_are_said_by_faces_names_or_both_in_their_shares() -> None:
    ways: Counter[str] = Counter()
    nameless: Counter[str] = Counter()
    for epoch in range(60):
        for batch in batches({"mix": {"image": 0.5, "text": 0.25, "both": 0.25}}, epoch=epoch):
            for row, query in zip(batch["features"], batch["queries"], strict=True):
                way = "text" if not query.persons else "both" if "Ann" in query.text else "image"
                (ways if row >= 3 else nameless)[way] += 1
                assert "[" in query.text or query.text == f"an image of Ann {row // 3}"
    assert set(nameless) == {"image"}  # nobody can say a name that is none
    for batch in batches({"mix": {"image": 0, "text": 1}}):
        assert min(batch["features"]) >= 3
    shares = {way: number / ways.total() for way, number in ways.items()}
    assert shares == pytest.approx({"image": 0.5, "text": 0.25, "both": 0.25}, abs=0.06)


def test_pictures_of_a_person_are_right_in_plain_sentences_and_the_video_alone_in_others() -> None:
    kinds: Counter[bool] = Counter()
    for epoch in range(20):
        for batch in batches({"compound": 0.5, "mix": {"image": 1}}, epoch=epoch):
            plain = {query.text.startswith("an image of") for query in batch["queries"]}
            assert len(plain) == 1  # all of a batch, or none
            kinds[plain.pop()] += 1
            if kinds:
                expected = [
                    row // 3 if batch["queries"][0].text.startswith("an image") else row for row in batch["features"]
                ]
                assert batch["groups"] == expected
    assert min(kinds.values()) > 10


def test_captions_of_samples_without_a_person_are_learned_as_they_are() -> None:
    data = people()
    samples = {**data.samples, 12: (video(12), "")}
    captions = {**data.captions, 12: ["a dog"]}
    faces = {**data.faces, "": (np.zeros((0, 2), np.float32), [])}
    with_dog = replace(data, samples=samples, ids={**data.ids, 12: "12"}, captions=captions, faces=faces)
    for compound, rows in ((1.0, 13), (0.0, 12)):
        loader = PersonBatches(
            cast("Any", Recorder()), with_dog, cast("Any", range(13)), PersonOptions(compound=compound), batch=1, seed=0
        )
        batches = list(loader.epoch(0))
        assert sorted(batch["features"][0] for batch in batches) == list(range(rows))
        texts = [batch["queries"][0].text for batch in batches if batch["features"] == [12]]
        assert texts == ["a dog"] * (compound == 1)


def test_twins_share_a_batch_of_captions() -> None:
    loader = PersonBatches(
        cast("Any", Recorder()), people(), cast("Any", range(12)), PersonOptions(compound=1.0),
        groups=[[number, number + 6] for number in range(6)], batch=4, seed=0,
    )  # fmt: skip
    epoch = list(loader.epoch(0))
    assert len(epoch) == 3
    for batch in epoch:
        assert {(number + 6) % 12 for number in batch["features"]} == set(batch["features"])


def test_batches_hang_on_seed_and_epoch_and_are_skipped_without_a_trace() -> None:
    options = {"compound": 0.5}

    def texts(**changes: int) -> list[list[str]]:
        return [[query.text for query in batch["queries"]] for batch in batches(options, batch=2, **changes)]

    assert texts() == texts()
    assert texts(skip=3) == texts()[3:]
    assert texts() != texts(seed=1)
    assert texts() != texts(epoch=1)


@pytest.mark.parametrize(
    ("options", "batch", "message"),
    [({"compound": 0.5}, 16, "12 samples for plain sentences"), ({"compound": 1.0}, 16, "12 samples for compound")],
)
def test_too_little_data_is_one_line(options: Mapping[str, Any], batch: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        batches(options, batch=batch)


class Naive:
    """Videos and queries are unit vectors of who is in them: a face of person p is the direction p."""

    scoring = Scoring()
    mistaken = -1  # a person who is taken for the next one

    def embed_videos(self, features: Sequence[int]) -> list[Embeddings]:
        vectors = np.eye(12, dtype=np.float32)
        return [Embeddings(vectors[row // 3], vectors[[row // 3]], np.array([[0, 1, 0.5]])) for row in features]

    def embed_queries(self, queries: Sequence[Query]) -> np.ndarray:
        people = [int(next(iter(query.persons.values())).faces[0, 0]) for query in queries]
        return np.eye(12, dtype=np.float32)[[person + (person == self.mistaken) for person in people]]

    def face_encoder(self) -> FakeFaces:
        return FakeFaces(fake.Options())

    def query_batch(self, *args: Any) -> Mapping[str, Any]:
        return {}


class Queries:
    """Queries of two groups; some of the right samples are not the nearest, and one cannot be read."""

    def evaluation_queries(self) -> list[EvaluationQuery]:
        def query(group: str, who: str, *right: str) -> EvaluationQuery:
            nobody = Person(np.zeros((0, 0), np.float32), "")
            return EvaluationQuery(Query(f"[{who}]", persons={who: nobody}), frozenset(right), group)

        return [
            query("single", "p1", "3", "4", "5"),
            query("compound", "p2", "6", "unreadable"),
            query("compound", "p3", "0"),
        ]

    def person_pictures(self) -> dict[str, list[PersonPicture]]:
        return {}


def test_validation_counts_recognised_persons_and_answered_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, features = Naive(), people(), cast("Any", range(12))
    seen = Portraits({who: faces for who, (faces, _) in data.faces.items()}, data.maker, {})
    monkeypatch.setattr("mmi_tvr.train.persons.portraits", lambda *args: seen)

    def percent(dataset: Any = None, **options: Any) -> float:
        values = PersonOptions(**options)
        return PersonValidation(cast("Any", model), dataset, data, features, values, Silent())(None)

    assert percent() == percent(compound=1.0) == 100  # without queries persons alone are measured
    # mAP: 100 of "single"; of "compound" 1/3 of three equal samples, and 1/12 of a sample of another person, the last.
    of_queries = (100 + (100 / 3 + 100 / 12) / 2) / 2
    assert percent(Queries(), compound=1.0) == pytest.approx(of_queries)
    assert percent(Queries(), compound=0.5) == pytest.approx((of_queries + 100) / 2)
    model.mistaken = 2
    assert percent() == 75


def test_options_that_cannot_be_are_one_line() -> None:
    for change, message in (
        ("mix={picture: 1}", "no way to say a person is called 'picture'"),
        ("mix={image: 0, text: 0, both: 0}", "shares are 0 or more"),
        ("template=an image", r"a sentence with \[p\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(CONFIG, [f"data.persons.{change}"])


def test_models_and_data_that_know_no_persons_are_one_line(tmp_path: Path) -> None:
    lat = [
        "model={name: lat, checkpoint: moving-shapes/base/clip}",
        "train.learning_rates={translators: 1e-3, temperature: 1e-3}",
    ]
    shapes = ["data.train={name: moving_shapes, split: train, count: 4}"]
    for change, message in ((lat, "reads no faces"), (shapes, "does not say who is on a picture")):
        settings = load(CONFIG, ["data.train.count=4", "data.validation.count=4", *change])
        with pytest.raises(UsageError, match=message):
            run(settings, tmp_path / "run", cache=tmp_path / "features", cpu=True)


def _assert_resumed_bit_for_bit(folder: Path, *changes: str) -> Path:
    """Train for four steps, and for two and two more; return the model of the first run."""
    stages = "[{name: a, steps: 4, weights: {contrastive: 1.0}}]"
    settings = load(
        CONFIG,
        ["data.train.count=12", "data.validation.count=8", "data.batch=4", f"train.stages={stages}", "train.chunk=2",
         "train.validate_every=2", "train.save_every=2", "train.keep=2", "data.persons.pictures=2",
         "data.train.pictures=2", "data.validation.pictures=2", *changes],
    )  # fmt: skip
    whole, resumed = folder / "whole", folder / "resumed"
    assert run(settings, whole, cache=folder / "features", cpu=True).finished
    if distributed.rank() == 0:
        shutil.copytree(whole, resumed)
        shutil.rmtree(resumed / "model")
        shutil.rmtree(resumed / "checkpoints" / "step-00000004")
    distributed.barrier()
    assert run(settings, resumed, cache=folder / "features", cpu=True, resume=True).finished
    distributed.barrier()
    for name in (clip_pad.PERSONS, clip_pad.TEXT):
        state, again = (load_file(of_run / "model" / name) for of_run in (whole, resumed))
        assert all(torch.equal(state[key], again[key]) for key in state)
    return whole / "model"


def test_a_run_is_resumed_bit_for_bit_and_its_folder_reads_pictures_of_things(tmp_path: Path) -> None:
    folder = _assert_resumed_bit_for_bit(tmp_path)
    model = models.make(models.section(str(folder)), "cpu")
    assert isinstance(model, clip_pad.ClipPad)
    dataset = moving_things.build(moving_things.Options(split="test", count=4, pictures=2))
    seen = portraits({"red ring": dataset.person_pictures()["red ring"]}, model.face_encoder())
    assert seen.faces["red ring"].shape == (2, 192)


def test_moving_things_say_one_event_and_know_every_video_that_it_is_true_of() -> None:
    dataset = moving_things.build(moving_things.Options(split="val", count=60))
    assert isinstance(dataset, PersonDataset)
    assert isinstance(dataset, QueryDataset)
    samples, identities = dataset.samples(), dataset.identities()
    for sample, thing in zip(samples, identities, strict=True):
        assert all((f"the [{thing}] " in caption) == bool(thing) for caption in sample.captions)
    queries = dataset.evaluation_queries()
    ids = {sample.id for sample in samples}
    for query in queries:
        assert query.right
        assert query.right <= ids
        kind, _, seen = query.group.partition("/")
        assert bool(query.query.persons) == (kind != "text_only")
        for handle, person in query.query.persons.items():
            assert f"[{handle}]" in query.query.text
            assert (handle in moving_things.HELD_OUT) == (seen == "unseen")
            assert person.name == handle
    of_first = next(query for query in queries if query.query.text == samples[0].captions[0])
    assert samples[0].id in of_first.right
    single = {query.query.text: query.right for query in queries if query.group.startswith("single")}
    compound = [query for query in queries if query.group.startswith("compound")]
    assert all(query.right <= single[f"a [{next(iter(query.query.persons))}]"] for query in compound)
    training = moving_things.build(moving_things.Options(split="train", count=60))
    assert sorted(number for group in training.groups() for number in group) == list(range(60))
    twins = [group for group in training.groups() if len(group) > 1]
    assert twins
    for first, second in twins:
        captions = [set(training.samples()[number].captions) for number in (first, second)]
        assert not captions[0] & captions[1]  # what twins say is true of themselves alone
    assert not moving_things.HELD_OUT.intersection(training.identities())
    assert len(moving_things.HELD_OUT) == 12
    assert {len({thing.split()[place] for thing in moving_things.HELD_OUT}) for place in (0, 1)} == {8, 6}


def test_the_published_setting_is_the_papers() -> None:
    """CLIP ViT-B/32 on the meta device: the text encoder has 63 million parameters, and the layers 128, 256, 512."""
    settings = load(ROOT / "configs" / "clip-pad-vggface2.yaml")
    options = settings.model.options
    assert options["faces"]["name"] == "senet50"
    assert settings.data.batch == 256
    assert settings.train.learning_rates == {"mlp": 1e-3, "text": 5e-6, "temperature": 1e-3}
    assert settings.train.stages[0].until == 95
    assert settings.data.persons is not None
    assert settings.data.persons.mix == {"image": 0.6, "text": 0.2, "both": 0.2}
    with torch.device("meta"):
        towers = object.__new__(ClipWordTowers)
        towers._model = CLIPModel(CLIPConfig()).requires_grad_(False)
        towers.word_width = 512
        network = ClipPadNetwork(towers, 128, options["hidden"], options["train"])
    learned = {name: sum(value.numel() for value in values) for name, values in network.parameter_groups().items()}
    assert learned == {"mlp": 128 * 256 + 256 + 256 * 512 + 512, "text": 63_428_096}


def test_moving_things_may_say_a_whole_video_with_the_thing_in_it() -> None:
    def things(captions: str) -> list[Sample]:
        options = {"split": "train", "count": 30, "captions": captions}
        return list(plugins.build("datasets", "moving_things", options).samples())

    events, whole, both = things("events"), things("whole"), things("both")
    shapes = plugins.build("datasets", "moving_shapes", {"split": "train", "count": 30}).samples()
    who = plugins.build("datasets", "moving_things", {"split": "train", "count": 30}).identities()
    assert 0 < sum(map(bool, who)) < 30
    for number, thing in enumerate(who):
        assert both[number].captions == events[number].captions + whole[number].captions
        spoken = [Query(text).text_with({thing: thing}) for text in whole[number].captions]
        assert spoken == list(shapes[number].captions[: len(spoken)])
        assert all((f"[{thing}]" in text) == bool(thing) for text in whole[number].captions)


def test_several_persons_of_a_caption_are_said_each_in_a_way_and_by_other_pictures() -> None:
    data = people()
    captions = {row: [f"[{who}] sees [p{(row // 3 + 1) % 4}] and [x]"] for row, (_, who) in data.samples.items()}
    data = replace(data, captions=captions, samples={**data.samples, 0: (video(3), "p0")})
    loader = PersonBatches(
        cast("Any", Recorder()), data, cast("Any", range(12)), PersonOptions(compound=1.0), batch=6, seed=0
    )
    counts: Counter[int] = Counter()
    for epoch in range(20):
        for batch in loader.epoch(epoch):
            for row, query in zip(batch["features"], batch["queries"], strict=True):
                counts[len(query.persons)] += 1
                assert query.text.endswith("[x]")  # in brackets, and nobody
                for handle, person in query.persons.items():
                    [[owner, place]] = person.faces.tolist()
                    assert f"p{int(owner):.0f}" == handle
                    assert data.faces[handle][1][int(place)] != data.samples[row][0]
                assert all(f"[{handle}]" in query.text for handle in query.persons)
    assert set(counts) == {0, 1, 2}
    alone = replace(data, faces={**data.faces, "p1": (np.zeros((0, 2), np.float32), [])})
    assert alone.query("[p0] sees [p1]", {"p1": PersonMention("text", np.zeros(0, np.int64))}).text == "[p0] sees Ann 1"


def test_moving_things_may_have_all_things_of_a_caption_as_handles() -> None:
    options = {"split": "train", "count": 60, "captions": "both"}
    one, several = (plugins.build("datasets", "moving_things", {**options, "handles": who}) for who in ("actor", "all"))
    pairs = 0
    for actor, first, second in zip(one.identities(), one.samples(), several.samples(), strict=True):
        for text, other in zip(first.captions, second.captions, strict=True):
            mentioned = handles_in(other)
            assert handles_in(text) == [actor] * bool(actor)
            assert set(mentioned) >= set(handles_in(text))
            assert not moving_things.HELD_OUT.intersection(mentioned)
            words = {thing: thing for thing in mentioned}
            assert Query(text).text_with(words) == Query(other).text_with(words)
            pairs += len(mentioned) > 1 and "video" not in other
    assert pairs > 20
    data = person_data(cast("Any", Things()), several, [0, 1, 2, 3, 4, 5], PersonOptions(pictures=2), Silent())
    assert data.faces.keys() > {who for _, who in data.samples.values()}


class Things:
    """Learns faces, and describes a picture by its mean."""

    name = "things"

    def face_encoder(self) -> FakeFaces:
        return cast("FakeFaces", MeanColour())

    def query_batch(self, *args: Any) -> Mapping[str, Any]:
        return {}


class MeanColour(ThingEncoder):
    def __init__(self) -> None:
        self.width = 3

    def describe(self, picture: Any, faces: Any) -> Any:
        return picture.reshape(-1, 3).mean(axis=0, keepdims=True)

    def fingerprint(self) -> str:
        return "mean"


def _loss_gradient(folder: Path, rows: Sequence[int]) -> dict[str, torch.Tensor]:
    """The gradient of the contrastive loss on some of six pairs, of which every process has a share."""
    faces = {"name": "fake"}
    model = models.make(Section(name="clip_pad", checkpoint=str(folder), faces=faces, hidden=8), "cpu")
    assert isinstance(model, clip_pad.ClipPad)
    with torch.no_grad():
        model.network.mlp[2].weight.normal_(generator=torch.Generator().manual_seed(1))
    random, maker = np.random.default_rng(0), model.face_encoder().fingerprint()
    somebody = [Person(random.standard_normal((1, 6)).astype(np.float32), maker) for _ in range(7)]
    queries = [Query("[a] waves", persons={"a": somebody[row]}) for row in range(4)]
    queries += [Query("[a] sees [b]", persons={"a": somebody[4], "b": somebody[5]}), Query("a dog")]
    images = random.standard_normal((6, 2, model.towers.joint_width)).astype(np.float32)
    segments = np.array([[0, 1, 0.5], [1, 2, 1.5]])
    features = [Features(segments, {"image": images[row]}) for row in rows]
    batch = model.query_batch([queries[row] for row in rows], features, [(0, 1, 2, 0, 4, 5)[row] for row in rows])
    objective = Objective(model.network, Temperature(), chunk=2, bf16=False, device=torch.device("cpu"))
    objective.backward({"ids": [str(row) for row in rows], **batch}, {"contrastive": 1.0})
    learned = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    distributed.average_gradients(list(learned.values()))
    return {name: value.grad for name, value in learned.items() if value.grad is not None}


def _assert_one_gradient_and_resumed_runs(folder: Path, expected: Mapping[str, torch.Tensor]) -> None:
    shares = ([0, 4, 2], [1, 3, 5])  # the two persons of one sentence are in one process alone
    gradients = _loss_gradient(folder, shares[distributed.rank()])
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)
    _assert_resumed_bit_for_bit(folder, "data.train.handles=all")


@pytest.mark.slow
@pytest.mark.usefixtures("one_process")
def test_two_processes_have_the_gradient_of_one_and_resume(tmp_path: Path) -> None:
    tiny_towers.make("clip", tmp_path)
    expected = _loss_gradient(tmp_path, range(6))
    assert {name.split(".")[0] for name in expected} == {"mlp", "towers"}
    train_toy.run_in_two_processes(_assert_one_gradient_and_resumed_runs, tmp_path, expected)
