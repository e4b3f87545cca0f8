"""Question pools: what ships, what is refused and with which line, what an edit leaves alone, and the lock file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr import config
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.questions import clustering, editing, pool, selection
from mmi_tvr.questions.pool import Pool, PoolQuestion

SMALL = """\
# head, by hand
about: text
questions:
  # who
  - id: t01   # the first
    text: What key concepts are mentioned?
    kind: entities
    note: keep me

  # in which order
  - id: t02
    text: >-
      What happens
      first?
    kind: order
    counterparts: [v30, v31]
  - id: t03
    kind: mood
    enabled: false
    text: 'Is it: happy?'
    provenance: {model: m, date: 2026-01-02}
# the end
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "text.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        pool.parse(text, Path("p.yaml"))
    return caught.value.problems


def changed_lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines that are only in the old, and only in the new text."""
    one, other = Counter(old.splitlines()), Counter(new.splitlines())
    return sorted((one - other).elements()), sorted((other - one).elements())


@pytest.mark.parametrize("about", pool.ABOUT)
def test_shipped_pools(about: pool.About) -> None:
    shipped = pool.load(config.PACKAGED / "prompts" / f"{about}.yaml")
    assert shipped.about == about
    assert [each.id for each in shipped.enabled] == [f"{about[0]}{number:02d}" for number in range(1, 51)]
    assert {each.kind for each in shipped.questions} == set(pool.KINDS)
    assert all(each.text[-1] in "?." and len(each.text) < 100 for each in shipped.questions)
    assert selection.selected_questions(shipped)
    lock = selection.read(shipped)
    assert lock is not None
    assert selection.stale_reason(lock, shipped) is None
    assert sorted(id for group in lock.clusters for id in group.questions) == [each.id for each in shipped.enabled]


def test_the_papers_questions_are_there() -> None:
    texts = {each.text for about in pool.ABOUT for each in pool.load(about).enabled}
    assert "What key concepts are mentioned in this text?" in texts
    assert "Which events are occurring, and which entities are involved?" in texts
    assert "What are the important entities in this video?" in texts
    assert "What are the relationships of these entities in this video?" in texts


def test_fields_and_defaults(small: Path) -> None:
    loaded = pool.load(small)
    assert loaded.questions == (
        PoolQuestion("t01", "What key concepts are mentioned?", "entities", note="keep me"),
        PoolQuestion("t02", "What happens first?", "order", counterparts=("v30", "v31")),
        PoolQuestion("t03", "Is it: happy?", "mood", enabled=False, provenance={"model": "m", "date": "2026-01-02"}),
    )
    assert [each.id for each in loaded.enabled] == ["t01", "t02"]
    with pytest.raises(UsageError, match="no question has the id 't99'"):
        loaded["t99"]


def test_all_problems_at_once_with_their_lines() -> None:
    text = "\n".join(
        [
            "about: sound",
            "questions:",
            "  - {id: a, text: Who, kind: entities}",
            "  - {id: a, text: What, kind: entities}",
            "  - {id: b, text: who, kind: entities}",
            "  - {id: 7, text: Where, kind: entities}",
            "  - {id: c, text: yes, kind: entities}",
            "  - {id: d, text: When, kind: sorts, enabled: perhaps}",
            "  - {id: e, txt: Why, kind: mood}",
            "  - {id: f, text: [How], kind: mood, language: English}",
            "  - a question",
            "  - {id: g, id: h, text: '!', kind: mood, provenance: me}",
            "  - {id: i, text: How, kind: mood, counterparts: t08}",
        ]
    )
    reported = problems(text)
    for line, message in [
        (1, "text or video, not 'sound'"),
        (4, "'a' is taken by the question in line 3"),
        (5, "the same question as in line 3"),
        (6, "'7', which YAML reads as no text"),
        (7, "'yes', which YAML reads as no text"),
        (8, "kind is one of entities, attributes"),
        (8, "enabled is true or false, not 'perhaps'"),
        (9, "unknown key 'txt'"),
        (9, "the question has no text"),
        (10, "a text is needed, not a list"),
        (10, "language is a code"),
        (11, "a question is a mapping"),
        (12, "id is there twice"),
        (12, "the question is empty"),
        (12, "provenance is a mapping"),
        (13, "counterparts is a list of ids"),
    ]:
        assert any(each.startswith(f"line {line}: ") and message in each for each in reported), (
            line,
            message,
            reported,
        )
    assert [int(re.findall(r"\d+", each)[0]) for each in reported] == sorted(
        int(re.findall(r"\d+", e)[0]) for e in reported
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a pool is a mapping (about: text or video, questions: a list), not an empty file"),
        ("- a\n- b", "not a list"),
        ("about: text", "questions: a list is needed"),
        ("about: text\nquestions: []", "line 2: the pool has no questions"),
        ("about: text\nquestions:\n\t- id: a", "line 3: not readable as YAML: a tab: indent with spaces"),
        ("about: text\nquestions: [", "line 2: not readable as YAML"),
        ("about: text\nquestions: &a [*a]", "a question is a mapping"),
        ("about: text\nquestions: " + "[" * 5000, "nested too deep"),
        ("about: text\nquestions: [{id: a, text: Who, kind: mood, enabled: false}]", "no question is enabled"),
        (f"about: text\nquestions: [{{id: a, text: {'x' * 501}, kind: mood}}]", "has 501 characters; at most 500"),
        (f"about: text\nquestions: [{{id: a, text: {'x ' * 5000}, kind: mood}}]", "has 9,999 characters; at most 500"),
        ('about: text\nquestions: [{id: a, text: "Who\\x07", kind: mood}]', "control character (U+0007)"),
        ("about: text\nquestions: [{id: a, text: !!python/object:os.system x, kind: mood}]", "a text is needed"),
    ],
)
def test_what_is_no_pool(text: str, message: str) -> None:
    assert any(message in each for each in problems(text)), problems(text)


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes("about: text # é".encode("latin-1"))
    with pytest.raises(UsageError, match="line 1: not UTF-8 text"):
        pool.load(tmp_path / "p.yaml")


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_file_is_a_pool_or_a_config_error(text: str) -> None:
    for each in (text, f"about: text\nquestions:\n- id: a\n  kind: mood\n  text: {text}"):
        try:
            parsed = pool.parse(each, Path("p.yaml"))
        except ConfigError:
            continue
        assert parsed.enabled
        assert all(pool.text_problem(question.text) is None for question in parsed.questions)


def test_digest_is_of_what_is_asked() -> None:
    one, other = PoolQuestion("t01", "Who?", "people"), PoolQuestion("t02", "Where?", "places")
    base = Pool(Path("a"), "text", (one, other)).digest()
    noted = PoolQuestion("t01", "Who?", "mood", note="often", provenance={"model": "m"})
    assert Pool(Path("b"), "text", (other, noted, PoolQuestion("t03", "x?", "mood", enabled=False))).digest() == base
    assert Pool(Path("a"), "text", (one,)).digest() != base
    assert Pool(Path("a"), "video", (one, other)).digest() != base


def test_edits_change_their_lines_alone(small: Path) -> None:
    editing.change(small, ["t01"], {"enabled": False})
    assert changed_lines(SMALL, small.read_text()) == ([], ["    enabled: false"])
    assert small.with_name("text.yaml.bak").read_text() == SMALL
    editing.change(small, ["t01"], {"enabled": True, "note": ""})
    assert changed_lines(SMALL, small.read_text()) == (["    note: keep me"], ["    enabled: true"])
    assert small.read_text().index("enabled: true") < small.read_text().index("# in which order")


def test_a_question_that_is_removed_leaves_the_comments(small: Path) -> None:
    editing.remove(small, ["t01", "t03"])
    left = small.read_text()
    assert [line for line in SMALL.splitlines() if line.strip().startswith("#")] == [
        line for line in left.splitlines() if line.strip().startswith("#")
    ]
    assert [each.id for each in pool.load(small).questions] == ["t02"]


def test_what_would_be_no_pool_is_not_written(small: Path) -> None:
    with pytest.raises(ConfigError, match="no question is enabled"):
        editing.change(small, ["t01", "t02"], {"enabled": False})
    with pytest.raises(ConfigError, match="the same question as in line 5"):
        editing.add(small, [PoolQuestion("t04", "what KEY concepts are mentioned", "mood")])
    with pytest.raises(ConfigError, match="has 10,000 characters"):
        editing.change(small, ["t01"], {"text": "x" * 10_000})
    with pytest.raises(ConfigError, match="control character"):
        editing.change(small, ["t01"], {"text": "Who\0?"})
    for text, message in (("[1, 2]", "a question is a mapping"), ("a: [", "not readable"), ("id: t01", "has no text")):
        with pytest.raises(UsageError, match=message):
            editing.replace(small, "t01", text)
    assert small.read_text() == SMALL
    assert not small.with_name("text.yaml.bak").exists()


def test_a_question_in_an_editor(small: Path) -> None:
    text = editing.question_yaml(pool.load(small)["t01"]).replace("What key concepts", "Which ideas")
    assert editing.replace(small, "t01", text)["t01"].text == "Which ideas are mentioned?"
    assert "# the first" in small.read_text()
    assert "\n\n  # in which order\n" in small.read_text()


def test_line_ends_and_indentation_are_kept(small: Path) -> None:
    flat = re.sub(r"^  ", "", SMALL, flags=re.MULTILINE).replace("\n", "\r\n")
    small.write_bytes(flat.encode())
    editing.change(small, ["t02"], {"kind": "mood"})
    assert small.read_bytes() == flat.replace("kind: order", "kind: mood").encode()


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), note=st.text(max_size=60))
def test_any_words_come_back_as_they_were_or_are_refused(
    text: str, note: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pool") / "text.yaml"
    path.write_text(SMALL, encoding="utf-8")
    try:
        edited = editing.add(path, [PoolQuestion("t04", text, "mood", note=note)])
    except ConfigError:
        assert path.read_text(encoding="utf-8") == SMALL
        return
    assert pool.load(path) == edited
    assert (edited["t04"].text, edited["t04"].note) == (" ".join(text.split()), " ".join(note.split()))
    assert edited.questions[:3] == pool.parse(SMALL, path).questions


def test_ids_are_not_given_twice(small: Path) -> None:
    assert editing.free_id(pool.load(small), ["t07"]) == "t08"


def test_a_packaged_pool_is_copied_with_its_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.PACKAGED)  # where ./prompts are the packaged ones
    packaged, folder = config.PACKAGED / "prompts" / "text.yaml", tmp_path / "library" / "prompts"
    path, copied = editing.editable_path(packaged, folder)
    assert (path, copied) == (folder / "text.yaml", True)
    assert path.read_bytes() == packaged.read_bytes()
    assert selection.selected_questions(pool.load(path)) == selection.selected_questions(pool.load(packaged))
    assert editing.editable_path(packaged, folder) == (path, False)
    assert editing.editable_path(path, tmp_path) == (path, False)


def test_a_name_is_the_packaged_pool_wherever_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    for name in ("prompts/text.yaml", "text.yaml", "text", "judge.yaml"):
        (tmp_path / name).write_text("about: text\nquestions:\n- {id: q1, kind: entities, text: 'Who is it?'}\n")
    assert pool.load("text").path == config.PACKAGED / "prompts" / "text.yaml"
    assert config.find("prompts", "judge") == config.PACKAGED / "prompts" / "judge.yaml"
    for explicit in ("text.yaml", "prompts/text.yaml", "prompts/text"):
        assert len(pool.load(explicit).questions) == 1
    assert pool.in_folder(None) == {"text": "text", "video": "video"}
    assert pool.in_folder(tmp_path / "prompts") == {"text": tmp_path / "prompts" / "text.yaml", "video": "video"}


def test_a_packaged_choice_goes_with_every_model(tmp_path: Path) -> None:
    packaged = pool.load("text")
    lock = selection.read(packaged)
    assert lock is not None
    assert selection.stale_reason(lock, packaged, "another") is None
    path, _ = editing.editable_path(packaged.path, tmp_path)
    copied = pool.load(path)
    assert "another model (moving-shapes)" in str(selection.stale_reason(lock, copied, "another"))


def made_choice(question_pool: Pool, k: int = 2) -> selection.Selection:
    points = np.eye(len(question_pool.enabled))
    return selection.from_clustering(question_pool, clustering.cluster(points, k), model="m", fingerprint="f")


def test_a_choice_is_kept_and_goes_out_of_date(small: Path) -> None:
    loaded = pool.load(small)
    assert selection.read(loaded) is None
    with pytest.raises(UsageError, match=f"run: mmi-tvr prompts choose --pool {re.escape(str(small))}"):
        selection.selected_questions(loaded)
    lock = made_choice(loaded)
    selection.write(lock, loaded)
    assert selection.read(loaded) == lock
    assert [each.id for each in selection.selected_questions(loaded)] == list(lock.chosen) == ["t01", "t02"]
    assert selection.stale_reason(lock, loaded) is None
    assert selection.stale_reason(lock, loaded, "f") is None
    assert "another model (m)" in str(selection.stale_reason(lock, loaded, "g"))

    changed = editing.change(small, ["t01"], {"enabled": False})
    assert "have changed" in str(selection.stale_reason(lock, changed))
    assert [each.id for each in selection.selected_questions(changed)] == ["t02"]
    editing.change(small, ["t03"], {"enabled": True})
    with pytest.raises(UsageError, match="none of the chosen questions is enabled"):
        selection.selected_questions(editing.change(small, ["t02"], {"enabled": False}))


@pytest.mark.parametrize("text", ["", "k: 3", "[", "<<<<<<< ours", "about: text\npool: [1]"])
def test_a_damaged_lock_says_how_to_make_it_again(small: Path, text: str) -> None:
    selection.lock_path(small).write_text(text)
    with pytest.raises(ConfigError, match="make it again: mmi-tvr prompts choose"):
        selection.read(pool.load(small))


def test_a_lock_of_the_other_pool(small: Path) -> None:
    loaded = pool.load(small)
    selection.write(made_choice(Pool(small, "video", loaded.questions)), loaded)
    with pytest.raises(ConfigError, match="about video"):
        selection.read(loaded)
