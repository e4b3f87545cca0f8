"""Which settings hold for a library, what is stored of them, and when a rebuild begins; nothing is decoded."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from fakes import FakeModel

from mmi_tvr import config, models, plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, UsageError
from mmi_tvr.index._codes import CodeIndex
from mmi_tvr.index.faiss import FaissIndex
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.components import Components
from mmi_tvr.types import Embeddings

UNIFORM = Section(name="uniform", count=3)
TRAINED_ON = Section(name="uniform", count=7)
FLAT = Section(name="flat")


@pytest.fixture
def catalogue(tmp_path):
    opened = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    yield opened
    opened.close()


@pytest.fixture
def components(catalogue):
    """Makes the components of a library with these settings and this model."""

    def make(chosen=None, **settings) -> Components:
        return Components(catalogue.path.parent, catalogue, Settings(**settings), chosen)

    return make


class TunedModel(FakeModel):
    """A model that was trained on key images of its own."""

    def key_image_section(self):
        return TRAINED_ON.model_dump()


class LookingModel(FakeModel):
    """A model that came with re-ranking by looks."""

    def rerank_section(self):
        return {"name": "visual", "depth": 7}


def store(catalogue: Catalogue, **sections: Section) -> None:
    defaults = {"model": Section(name="label_bridge"), "keyimages": Settings().keyimages, "index": Section()}
    values = {key: section.model_dump() for key, section in (defaults | sections).items()}
    catalogue.set_meta(settings=values, vectors="present")


# Which settings hold


def test_explicit_settings_go_before_stored_ones_and_these_before_defaults(catalogue, components):
    assert components().section("index") == Settings().index
    store(catalogue, index=FLAT)
    assert components().section("index") == FLAT
    assert components(index=Section(name="faiss")).section("index") == Section(name="faiss")
    assert components(device="cpu").section("index") == FLAT


def test_auto_means_the_model_that_a_library_has(catalogue, components):
    assert components(model=Section(name="auto")).section("model") == Section(name="auto")
    store(catalogue, model=Section(name="clip4clip", checkpoint="x"))
    assert components(model=Section(name="auto")).section("model") == Section(name="clip4clip", checkpoint="x")
    assert components(model=Section(name="label_bridge")).section("model") == Section(name="label_bridge")


def test_a_ready_model_goes_before_the_settings_and_is_stored_by_name(catalogue, components):
    ready = components(FakeModel("mine"), model=Section(name="label_bridge"))
    assert ready.section("model") == Section(name="mine")
    assert ready.load().model.name == "mine"


def test_key_images_of_a_named_model(catalogue, components, monkeypatch):
    trained_on = {"tuned": TRAINED_ON, "plain": None}
    monkeypatch.setattr(models, "key_images", lambda section: trained_on[section.name])
    default = Settings().keyimages
    tuned, plain = Section(name="tuned"), Section(name="plain")
    assert components(tuned).section("keyimages") == TRAINED_ON
    assert components(plain).section("keyimages") == default
    assert components(tuned, keyimages=UNIFORM).section("keyimages") == UNIFORM
    assert components(tuned, keyimages=default).section("keyimages") == default
    store(catalogue, model=plain)
    assert components(tuned).section("keyimages") == TRAINED_ON  # nobody chose the stored default
    store(catalogue, model=tuned, keyimages=TRAINED_ON)
    assert components(plain).section("keyimages") == default  # they came with the model that is to go
    store(catalogue, model=tuned, keyimages=UNIFORM)
    assert components(plain).section("keyimages") == UNIFORM  # somebody chose them
    store(catalogue, model=tuned, keyimages=default)
    assert components().section("keyimages") == default  # what the model brings was not wanted
    assert components(Section(name="tuned", width=7)).section("keyimages") == default


def test_a_library_whose_model_is_gone_keeps_its_key_images_and_takes_another_model(catalogue, components):
    store(catalogue, model=Section(name="mmi", weights="/nowhere"), keyimages=UNIFORM)
    assert components().section("keyimages") == UNIFORM
    assert components(Section(name="label_bridge")).section("keyimages") == UNIFORM
    store(catalogue, model=Section(name="mmi", weights="/nowhere"))
    lat = models.section("lat-shapes")
    assert components(lat).section("keyimages") == models.key_images(lat)


def test_key_images_of_a_ready_model(catalogue, components):
    assert components(TunedModel()).section("keyimages") == TRAINED_ON
    assert components(FakeModel()).section("keyimages") == Settings().keyimages
    store(catalogue, keyimages=UNIFORM)
    assert components(TunedModel()).section("keyimages") == TRAINED_ON
    assert components(FakeModel()).section("keyimages") == UNIFORM
    assert components(TunedModel(), keyimages=UNIFORM).section("keyimages") == UNIFORM
    method = components(TunedModel()).load().key_image_method
    assert method.fingerprint() == plugins.build("keyimages", "uniform", {"count": 7}).fingerprint()


def test_reranking_is_stored_when_it_is_explicit(catalogue, components):
    first, second = Section(name="skeleton", depth=3), Section(name="skeleton", depth=4)
    assert components().rerank_section() is None
    components(FakeModel(), rerank=first).settle(rebuild=False)
    components(FakeModel()).settle(rebuild=False)
    assert components().rerank_section() == first
    assert components(rerank=second).rerank_section() == second
    assert components(rerank=None).rerank_section() is None
    components(FakeModel(), rerank=None).settle(rebuild=False)
    assert components().rerank_section() is None


def test_one_setting_of_reranking_changes_alone(catalogue, components):
    server = {"name": "openai", "base_url": "http://127.0.0.1:9/v1"}
    components(FakeModel(), rerank=Section(name="skeleton", answerer=server, depth=3)).settle(rebuild=False)
    assert components(rerank=Section(name="skeleton", depth=4)).rerank_section().options == {
        "answerer": server,
        "depth": 4,
    }
    components(FakeModel(), rerank=Section(name="skeleton", answerer={"retries": 1})).settle(rebuild=False)
    assert components().rerank_section().options == {"answerer": {**server, "retries": 1}, "depth": 3}
    named = Section(name="skeleton", answerer=server)
    assert components(rerank=named).rerank_section().options == {"answerer": server, "depth": 3}


def test_options_of_reranking_without_a_name_are_about_the_way_that_is_remembered(catalogue, components):
    components(FakeModel(), rerank=Section(name="visual", depth=3)).settle(rebuild=False)
    expected = Section(name="visual", depth=4)
    assert components(rerank=Section(depth=4)).rerank_section() == expected
    assert components(rerank={"depth": 4}).rerank_section() == expected
    assert components(rerank=Section(name="skeleton", depth=4)).rerank_section().name == "skeleton"


def test_options_of_reranking_without_a_name_stay_about_the_way_that_the_model_has(catalogue, components):
    looking = LookingModel()
    components(looking, rerank={"depth": 4}).settle(rebuild=False)
    assert components(looking).reranking(looking) == Section(name="visual", depth=4)
    components(looking, rerank={"alpha": 0.25}).settle(rebuild=False)
    assert components(looking).reranking(looking) == Section(name="visual", depth=4, alpha=0.25)
    with pytest.raises(UsageError, match=r"rerank\.visual: unknown option 'lambda_s'"):
        components(looking, rerank={"lambda_s": 0.5}).settle(rebuild=False)
    assert components(looking).reranking(looking) == Section(name="visual", depth=4, alpha=0.25)
    components(looking, rerank=Section(name="skeleton", alpha=0.5)).settle(rebuild=False)
    assert components(looking).reranking(looking).name == "skeleton"


# What is stored


def test_a_new_library_stores_its_settings_once(catalogue, components, monkeypatch):
    monkeypatch.setattr(models, "resolve", lambda section: Section(name="label_bridge"))
    components(index=FLAT).settle(rebuild=False)
    meta = catalogue.all_meta()
    assert meta["settings"]["model"]["name"] == "label_bridge"  # not auto, which may mean another one next year
    assert meta["settings"]["index"]["name"] == "flat"
    assert meta["settings"]["keyimages"]["name"] == "disparity"
    assert len(meta["vectors"]) == 8
    components().settle(rebuild=False)
    assert catalogue.all_meta() == meta


def test_another_name_of_the_same_model_is_stored_and_the_vectors_stay(catalogue, components):
    components(FakeModel("first")).settle(rebuild=False)
    before = catalogue.all_meta()
    components(FakeModel("second")).settle(rebuild=False)
    after = catalogue.all_meta()
    assert after["settings"]["model"]["name"] == "second"
    assert after["vectors"] == before["vectors"]


def test_the_first_index_stores_what_its_vectors_are(catalogue, components):
    first = components(FakeModel("first"))
    first.settle(rebuild=False)
    assert first.open_index(create=True) is None
    index = first.make_index(4)
    index.add(np.array([1]), np.eye(1, 4, dtype=np.float32))
    index.close()
    meta = catalogue.all_meta()
    assert (meta["dim"], meta["model"], meta["fingerprint"]) == (4, "first", first.load().fingerprint)
    again = components(FakeModel("second")).make_index(4)
    assert again.count() == 1
    again.close()
    assert catalogue.meta("model") == "first"


def test_vectors_of_another_model_are_refused(catalogue, components):
    present = components(FakeModel())
    present.settle(rebuild=False)
    present.make_index(4).close()
    with pytest.raises(
        IndexMismatch, match=r"by fake with other weights or settings \(.*\), not the present ones \(.*\); .*--rebuild"
    ):
        components(FakeModel(head=1)).load()
    with pytest.raises(IndexMismatch):
        components(FakeModel(head=1)).settle(rebuild=False)
    with pytest.raises(IndexMismatch):
        components(FakeModel(), keyimages=UNIFORM).settle(rebuild=False)
    milvus = Section(name="milvus", index_type="FLAT")
    with pytest.raises(
        IndexMismatch,
        match=r"its index is auto, not milvus \(index_type: FLAT\); to make them again: "
        r"mmi-tvr index --library \S+ --model fake --rebuild --set index.name=milvus --set index.index_type=FLAT$",
    ):
        components(index=milvus).settle(rebuild=False)


def test_an_index_in_the_same_files_is_changed_in_place_by_a_writer_alone(catalogue, components):
    present = components(FakeModel())
    present.settle(rebuild=False)
    present.make_index(4).close()
    vectors = catalogue.meta("vectors")
    codes = Section(name="flat", bits=8)
    advice = r"its index is auto, not flat \(bits: 8\); to change that: mmi-tvr index --library \S+ "
    with pytest.raises(IndexMismatch, match=advice + "--set index.name=flat --set index.bits=8$"):
        components(index=codes).open_index(create=False)
    for harmless in (FLAT, Section(ef_search=512), Section(name="faiss", graph_from=5)):
        components(index=harmless).open_index(create=False).close()  # how to search, not what is built
    with closing(components(index=codes).open_index(create=True)) as unsettled:  # forgets files, say
        assert isinstance(unsettled, FaissIndex)
        assert not isinstance(unsettled, CodeIndex)
    components(FakeModel(), index=codes).settle(rebuild=False)
    assert catalogue.meta("settings")["index"] == codes.model_dump()
    assert catalogue.meta("vectors") == vectors
    with pytest.raises(IndexMismatch, match=r"its index is flat \(bits: 8\), not flat \(bits: 1\)"):
        components(index=Section(name="flat", bits=1)).open_index(create=False)
    components(FakeModel(), index=Section(oversample=64)).settle(rebuild=False)
    assert catalogue.meta("settings")["index"] == {"name": "flat", "bits": 8, "oversample": 64}


@pytest.mark.parametrize(
    ("index", "key_images", "change", "says"),
    [
        (FLAT, UNIFORM, "index.m=16", r"index\.flat: unknown option 'm'"),
        (Section(), UNIFORM, "index.bits=1", r"an index that takes this: index\.name=flat$"),
        (FLAT, UNIFORM, "keyimages.floor=0.1", r"keyimages\.uniform: unknown option 'floor'"),
    ],
)
def test_options_that_a_library_has_no_use_for_are_refused_and_not_stored(
    index, key_images, change, says, catalogue, components
):
    components(FakeModel(), index=index, keyimages=key_images).settle(rebuild=False)
    components(FakeModel()).make_index(4).close()
    before = catalogue.all_meta()
    changed = dict(config.load(None, [change]))
    changed = {key: changed[key] for key in (change.partition(".")[0],)}
    for rebuild in (False, True):
        with pytest.raises(UsageError, match=says) as caught:
            components(FakeModel(), rerank=Section(name="skeleton", depth=3), **changed).settle(rebuild)
        assert "\n" not in str(caught.value)
        assert catalogue.all_meta() == before  # of re-ranking, neither
    if "index" in changed:
        with pytest.raises(UsageError, match=says):
            components(**changed).open_index(create=False)


def test_options_that_only_the_index_of_a_library_takes_change_it(catalogue, components):
    components(FakeModel(), index=Section(name="flat", bits=8)).settle(rebuild=False)
    components(FakeModel(), index=config.load(None, ["index.bits=1"]).index).settle(rebuild=False)
    assert catalogue.meta("settings")["index"] == {"name": "flat", "bits": 1}


def test_a_model_with_wrong_options_is_not_stored(catalogue, components):
    with pytest.raises(UsageError, match=r"models\.label_bridge: unknown option 'width'"):
        components(Section(name="label_bridge", width=3)).settle(rebuild=False)
    assert catalogue.meta("settings") is None


def test_key_images_without_a_name_change_those_that_are_there(catalogue, components):
    store(catalogue, keyimages=TRAINED_ON)
    assert components(keyimages=Section(fps=1.0)).section("keyimages") == Section(name="uniform", count=7, fps=1.0)
    named = Section(name="disparity", fps=1.0)
    assert components(keyimages=named).section("keyimages") == named


def test_the_command_that_changes_a_library_says_all_that_was_set(catalogue, components):
    components(FakeModel()).settle(rebuild=False)
    with catalogue.transaction():
        catalogue.set_meta(dim=4, fingerprint="of another", model="another")
    changed = components(model=Section(name="label_bridge", classes=7), keyimages=UNIFORM)
    with pytest.raises(
        IndexMismatch, match=r"--model label_bridge --rebuild --set model.classes=7 --set keyimages.name=uniform --set"
    ):
        changed.load()


# Rebuilds


def test_a_rebuild_with_auto_binds_the_library_to_the_model_that_auto_means(catalogue, components):
    store(catalogue, model=Section(name="clip4clip", checkpoint="x"))
    components(model=Section(name="auto")).settle(rebuild=True)
    assert catalogue.all_meta()["settings"]["model"]["name"] == "label_bridge"


def test_a_rebuild_by_settings_that_say_nothing_of_a_model_keeps_it(catalogue, components):
    bridge = Section(name="label_bridge", classes=7)
    store(catalogue, model=bridge)
    components(model={}).settle(rebuild=True)
    assert catalogue.meta("settings")["model"] == bridge.model_dump()


def test_a_rebuild_binds_the_library_anew_and_has_everything_embedded(catalogue, components):
    present = components(FakeModel())
    present.settle(rebuild=False)
    present.make_index(4).close()
    number = catalogue.content_number("aa")
    catalogue.set_indexed(number, Embeddings(np.ones(4), np.ones((1, 4)), np.array([[0.0, 1.0, 0.5]])))
    before = catalogue.all_meta()
    rebuilt = components(FakeModel("other", head=1), index=FLAT)
    rebuilt.settle(rebuild=True)
    after = catalogue.all_meta()
    assert after["vectors"] != before["vectors"]
    assert after["rebuilding"] == rebuilt.load().fingerprint
    assert (after["dim"], after["fingerprint"], after["model"]) == (None, None, None)
    assert (after["settings"]["index"]["name"], after["settings"]["model"]["name"]) == ("flat", "other")
    assert catalogue.content_states() == {number: "pending"}


def test_the_same_rebuild_goes_on_and_another_one_begins(catalogue, components):
    components(FakeModel()).settle(rebuild=False)
    components(FakeModel(), index=FLAT).settle(rebuild=True)
    begun = catalogue.meta("vectors")
    components(FakeModel()).settle(rebuild=True)
    assert catalogue.meta("vectors") == begun
    components(FakeModel(head=1)).settle(rebuild=True)  # another fingerprint
    second = catalogue.meta("vectors")
    assert second != begun
    components(FakeModel(head=1), index=Section(name="faiss")).settle(rebuild=True)  # another setting
    assert catalogue.meta("vectors") != second
    third = catalogue.meta("vectors")
    catalogue.set_meta(rebuilding=None)  # it is done
    components(FakeModel(head=1)).settle(rebuild=True)
    assert catalogue.meta("vectors") != third


def test_a_rebuild_of_a_new_library_is_a_first_run(catalogue, components):
    components(FakeModel()).settle(rebuild=True)
    assert catalogue.meta("rebuilding") is None
    assert catalogue.meta("settings")["model"]["name"] == "fake"
