"""Laws of the library: names mean one file or say why not, changes are noticed, one bad file harms no other."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import NetworkError
from app.networks.catalog import Catalog
from tests.networks.library import lora, note


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "loras"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "data" / "index.sqlite"


@pytest.fixture
def catalog(root: Path, index: Path) -> Catalog:
    return Catalog([root], "lora", index)


def names(catalog: Catalog) -> list[str]:
    return [file.name for file in catalog.entries()]


# --- names -------------------------------------------------------------------------------------------------------


def test_a_name_is_the_path_below_the_folder(root: Path, catalog: Catalog) -> None:
    lora(root / "styles" / "ink.v1.safetensors")
    assert names(catalog) == ["styles/ink.v1"]
    assert catalog.find("styles/ink.v1").path == root / "styles" / "ink.v1.safetensors"


@pytest.mark.parametrize("name", ["ink", "styles/ink", "styles\\ink", " ink ", "ink.safetensors", "INK", "Styles/Ink"])
def test_a_name_works_as_people_write_it(root: Path, catalog: Catalog, name: str) -> None:
    lora(root / "styles" / "ink.safetensors")
    assert catalog.find(name).name == "styles/ink"


def test_a_bare_name_of_two_files_names_them_both(root: Path, catalog: Catalog) -> None:
    first, second = lora(root / "a" / "ink.safetensors"), lora(root / "b" / "ink.safetensors")
    with pytest.raises(NetworkError, match="a/ink, b/ink"):
        catalog.find("ink")
    assert (catalog.find("a/ink").path, catalog.find("b/ink").path) == (first, second)


def test_a_full_name_beats_a_bare_one(root: Path, catalog: Catalog) -> None:
    top = lora(root / "ink.safetensors")
    lora(root / "b" / "ink.safetensors")
    assert catalog.find("ink").path == top


def test_case_decides_only_where_it_must(root: Path, catalog: Catalog) -> None:
    lower, upper = lora(root / "a" / "ink.safetensors"), lora(root / "b" / "Ink.safetensors")
    if lower.parent.samefile(upper.parent):  # a disk that ignores case cannot hold both
        pytest.skip("this disk ignores case")
    assert (catalog.find("ink").path, catalog.find("Ink").path) == (lower, upper)
    with pytest.raises(NetworkError, match="Several"):
        catalog.find("INK")


def test_a_missing_name_offers_near_ones(root: Path, catalog: Catalog) -> None:
    lora(root / "styles" / "watercolour.safetensors")
    with pytest.raises(NetworkError, match="styles/watercolour"):
        catalog.find("watercolor")


@pytest.mark.parametrize("name", ["", "/", "..", "../secret", "x" * 100_000, "\0", "a\nb", "~/x", "C:\\x"])
def test_no_name_leads_out_of_the_library(root: Path, catalog: Catalog, name: str) -> None:
    lora(root.parent / "secret.safetensors")
    lora(root / "ink.safetensors")
    with pytest.raises(NetworkError, match="No network"):
        catalog.find(name)


def test_two_roots_keep_two_files_of_one_name_apart(root: Path, tmp_path: Path, index: Path) -> None:
    first, second = lora(root / "ink.safetensors"), lora(tmp_path / "more" / "ink.safetensors")
    catalog = Catalog([root, tmp_path / "more"], "lora", index)
    assert {file.name: file.path for file in catalog.entries()} == {"ink": first, "more/ink": second}


def test_a_root_within_another_lists_nothing_twice(root: Path, index: Path) -> None:
    lora(root / "a" / "ink.safetensors")
    assert names(Catalog([root, root / "a"], "lora", index)) == ["a/ink"]


def test_files_that_differ_in_suffix_keep_apart(root: Path, catalog: Catalog) -> None:
    lora(root / "ink.safetensors")
    (root / "ink.pt").write_bytes(b"")
    assert names(catalog) == ["ink", "ink.pt"]
    assert catalog.find("ink").path.suffix == ".safetensors"


def test_an_alias_works_where_it_means_one_file(root: Path, catalog: Catalog) -> None:
    lora(root / "ink.safetensors", {"ss_output_name": "Brush"})
    assert catalog.find("Brush").name == catalog.find("brush").name == "ink"
    assert catalog.find("ink").alias == "Brush"


def test_an_alias_of_two_files_is_no_alias(root: Path, catalog: Catalog) -> None:
    lora(root / "a.safetensors", {"ss_output_name": "Brush"})
    lora(root / "b.safetensors", {"ss_output_name": "brush"})
    with pytest.raises(NetworkError, match="No network"):
        catalog.find("Brush")
    assert {file.alias for file in catalog.entries()} == {""}


def test_an_alias_never_takes_the_name_of_a_file(root: Path, catalog: Catalog) -> None:
    lora(root / "a.safetensors", {"ss_output_name": "ink"})
    lora(root / "styles" / "Ink.safetensors")
    assert catalog.find("ink").name == "styles/Ink"


def test_a_name_that_is_code_is_only_a_name(root: Path, catalog: Catalog) -> None:
    name = "x${alert(1)}<img onerror=alert(1)>"
    lora(root / f"{name}.safetensors")
    assert catalog.find(name).as_card()["name"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps names that are not Unicode")
def test_a_name_that_is_not_unicode_is_listed_and_harms_no_other(root: Path, catalog: Catalog, index: Path) -> None:
    lora(root / "ink.safetensors")
    lora(root / "x.safetensors").rename(root / os.fsdecode(b"\xff.safetensors"))
    for library in (catalog, Catalog([root], "lora", index)):
        assert [file.as_card()["name"] for file in library.entries()] == ["?", "ink"]
        for file in library.entries():
            str(file.as_card()).encode()
            assert file.rank == 2


# --- changes -----------------------------------------------------------------------------------------------------


def test_a_file_added_changed_and_removed_is_noticed(root: Path, catalog: Catalog) -> None:
    lora(root / "a.safetensors")
    assert names(catalog) == ["a"]
    lora(root / "b.safetensors", {"modelspec.title": "one"})
    catalog.refresh()
    assert names(catalog) == ["a", "b"]
    lora(root / "b.safetensors", {"modelspec.title": "another"})
    catalog.refresh()
    assert catalog.find("b").title == "another"
    (root / "a.safetensors").unlink()
    catalog.refresh()
    assert names(catalog) == ["b"]


def test_find_notices_by_itself(root: Path, catalog: Catalog) -> None:
    lora(root / "a.safetensors")
    catalog.refresh()
    catalog._look_again = 0.0  # as if some time had passed
    lora(root / "b.safetensors", rank=3)
    assert catalog.find("b").rank == 3
    lora(root / "b.safetensors", rank=4)
    assert catalog.find("b").rank == 4
    (root / "b.safetensors").unlink()
    with pytest.raises(NetworkError):
        catalog.find("b")


def test_a_sidecar_or_a_picture_that_changes_is_noticed(root: Path, catalog: Catalog) -> None:
    lora(root / "a.safetensors")
    assert catalog.find("a").trigger_words == ()
    note(root / "a.json", {"activation text": "ink wash, brush"})
    (root / "a.preview.png").write_bytes(b"")
    catalog.refresh()
    assert catalog.find("a").trigger_words == ("ink wash", "brush")
    assert catalog.find("a").picture == root / "a.preview.png"
    (root / "a.json").unlink()
    (root / "a.preview.png").unlink()
    catalog.refresh()
    assert (catalog.find("a").trigger_words, catalog.find("a").picture) == ((), None)


def test_a_folder_that_is_not_there_is_an_empty_library(catalog: Catalog, root: Path) -> None:
    assert (catalog.entries(), catalog.problems) == ((), ())
    lora(root / "a.safetensors")
    catalog.refresh()
    assert names(catalog) == ["a"]


def test_what_was_learnt_is_the_same_after_a_restart(root: Path, catalog: Catalog, index: Path) -> None:
    lora(root / "a.safetensors", {"ss_output_name": "x", "ss_tag_frequency": '{"d": {"b": 2, "a": 1}}'})
    note(root / "a.json", {"activation text": "w", "preferred weight": 0.5})
    (root / "bad.safetensors").write_bytes(b"")
    catalog.hashes(catalog.find("a"))
    assert Catalog([root], "lora", index).entries() == catalog.entries()


def test_only_what_changed_is_read_again(root: Path, catalog: Catalog, index: Path) -> None:
    for name in "abc":
        lora(root / f"{name}.safetensors")
    catalog.refresh()
    read: list[tuple[int, int]] = []
    again = Catalog([root], "lora", index)
    again.refresh(lambda done, total: read.append((done, total)))
    assert read == []
    lora(root / "b.safetensors", rank=5)
    again.refresh(lambda done, total: read.append((done, total)))
    assert read == [(1, 1)]


# --- bad files ---------------------------------------------------------------------------------------------------


def make_deep(path: Path) -> None:
    text = b"[" * 10_000 + b"]" * 10_000
    path.write_bytes(struct.pack("<Q", len(text)) + text)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a length of 2⁶³": lambda path: path.write_bytes(struct.pack("<Q", 2**63) + b"{}"),
    "deep JSON": make_deep,
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "a zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "noise": lambda path: path.write_bytes(os.urandom(1000)),
    "a folder": lambda path: path.mkdir(),
    "truncated": lambda path: path.write_bytes(lora(path).read_bytes()[:-1]),
    "deep metadata": lambda path: lora(path, {"ss_tag_frequency": "[" * 100_000}),
    "no network": lambda path: path.write_bytes(struct.pack("<Q", 2) + b"{}"),
}


@pytest.mark.parametrize("write", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bad_file_is_one_record_with_one_problem_and_harms_no_other(
    root: Path, catalog: Catalog, write: Callable[[Path], object]
) -> None:
    lora(root / "good.safetensors")
    write(root / "bad.safetensors")
    bad, good = catalog.entries()
    assert (bad.name, good.name, good.problems, good.rank) == ("bad", "good", (), 2)
    (problem,) = bad.problems
    assert problem.source == str(root / "bad.safetensors")
    assert catalog.find("good") == good


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_out_of_the_folder_is_said_and_not_read(root: Path, catalog: Catalog, tmp_path: Path) -> None:
    lora(root / "good.safetensors")
    lora(tmp_path / "outside" / "secret.safetensors")
    (root / "file.safetensors").symlink_to(tmp_path / "outside" / "secret.safetensors")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "nothing.safetensors").symlink_to(root / "missing")
    assert names(catalog) == ["file", "good"]
    assert catalog.entries()[0].algorithms == {}
    with pytest.raises(NetworkError, match="leads out"):
        catalog.find("file")
    assert [Path(problem.source).name for problem in catalog.problems] == ["nothing.safetensors", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_inside_the_folder_work_and_loops_end(root: Path, catalog: Catalog) -> None:
    lora(root / "a" / "ink.safetensors")
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "self.safetensors").symlink_to(root / "a" / "self.safetensors")
    (root / "other.safetensors").symlink_to(root / "a" / "ink.safetensors")
    assert names(catalog) == ["a/ink", "other"]
    assert catalog.find("other").rank == 2


def test_a_pickle_is_listed_and_not_opened(root: Path, catalog: Catalog) -> None:
    root.mkdir()
    (root / "old.ckpt").write_bytes(b"not even a pickle")
    (file,) = catalog.entries()
    assert (file.pickled, file.base_model, file.problems) == (True, "unknown", ())


def test_a_peft_folder_is_one_network(root: Path, catalog: Catalog) -> None:
    lora(root / "mine" / "adapter_model.safetensors")
    note(root / "mine" / "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 8})
    note(root / "mine.json", {"activation text": "brush"})
    lora(root / "mine" / "checkpoint-10" / "adapter_model.safetensors")
    assert names(catalog) == ["mine", "mine/checkpoint-10/adapter_model"]
    mine = catalog.find("mine")
    assert (mine.path, mine.file.name, mine.trigger_words) == (root / "mine", "adapter_model.safetensors", ("brush",))


def test_hidden_folders_are_left_out(root: Path, catalog: Catalog) -> None:
    lora(root / ".trash" / "ink.safetensors")
    lora(root / ".hidden.safetensors")
    assert names(catalog) == []


# --- the index ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_index_is_made_anew(root: Path, index: Path, damage: bytes) -> None:
    lora(root / "a.safetensors")
    Catalog([root], "lora", index).refresh()
    for file in index.parent.iterdir():
        file.write_bytes(damage)
    catalog = Catalog([root], "lora", index)
    assert names(catalog) == ["a"]
    assert [problem.level for problem in catalog.problems] == (["warning"] if damage else [])
    again = Catalog([root], "lora", index)
    assert (names(again), again.problems) == (["a"], ())


def test_an_index_that_cannot_be_written_is_said_and_done_without(root: Path, tmp_path: Path) -> None:
    lora(root / "a.safetensors")
    (tmp_path / "file").write_bytes(b"")
    catalog = Catalog([root], "lora", tmp_path / "file" / "index.sqlite")
    assert names(catalog) == ["a"]
    assert len(catalog.problems) == 1
    assert len(catalog.hashes(catalog.find("a")).autov2) == 10


def test_a_folder_that_is_unplugged_keeps_its_hashes(root: Path, index: Path, tmp_path: Path) -> None:
    lora(root / "a.safetensors")
    catalog = Catalog([root], "lora", index)
    digits = catalog.hashes(catalog.find("a")).autov3
    shutil.move(root, tmp_path / "away")
    assert names(Catalog([root], "lora", index)) == []
    shutil.move(tmp_path / "away", root)
    assert Catalog([root], "lora", index).find("a").autov3 == digits


def test_threads_may_use_one_library_at_once(root: Path, catalog: Catalog) -> None:
    for number in range(20):
        lora(root / f"{number}.safetensors")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                catalog.refresh()
                assert catalog.find(str(number)).name == str(number)
                catalog.hashes(catalog.find(str(number)))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(catalog.entries()) == 20


def test_processes_may_use_one_index_at_once(root: Path, index: Path) -> None:
    for number in range(30):
        lora(root / f"{number}.safetensors")
    program = (
        "import sys; from pathlib import Path; from app.networks.catalog import Catalog\n"
        "catalog = Catalog([Path(sys.argv[1])], 'lora', Path(sys.argv[2]))\n"
        "for file in catalog.entries(): catalog.hashes(file)\n"
        "print(len(catalog.entries()), len(catalog.problems), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(root), str(index)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].split() for process in running] == [["30", "0", "False"]] * 3


# --- hashes ------------------------------------------------------------------------------------------------------


def test_hashing_in_the_background_fills_in_every_hash(root: Path, catalog: Catalog, index: Path) -> None:
    for number in range(3):
        lora(root / f"{number}.safetensors", rank=number + 1)
    (root / "bad.safetensors").write_bytes(b"")
    catalog.start_hashing()
    assert catalog._thread is not None
    catalog._thread.join()
    hashes = {file.name: file.autov3 for file in catalog.entries()}
    assert hashes.pop("bad") == ""
    assert len(set(hashes.values())) == 3
    assert {file.name: file.autov3 for file in Catalog([root], "lora", index).entries() if file.autov3} == hashes


def test_hashing_stops_when_told(root: Path, catalog: Catalog) -> None:
    for number in range(50):
        lora(root / f"{number}.safetensors")
    catalog.refresh()
    catalog._stop.set()
    catalog.hash_all()
    assert {file.autov2 for file in catalog.entries()} == {""}
    catalog.start_hashing()
    catalog.close()
    assert catalog._thread is not None and not catalog._thread.is_alive()


def test_a_network_is_found_by_either_hash(root: Path, catalog: Catalog) -> None:
    lora(root / "other.safetensors", rank=3)
    hashes = catalog.hashes(catalog.find(lora(root / "ink.safetensors").stem))
    for digits in (hashes.autov3, hashes.autov2, hashes.autov3.upper(), hashes.sha256, hashes.autov3[:8]):
        found = catalog.with_hash(digits)
        assert found is not None and found.name == "ink"
    assert catalog.with_hash("") is catalog.with_hash("ffffffffffff") is None


def test_a_hash_does_not_outlive_its_file(root: Path, catalog: Catalog) -> None:
    before = catalog.hashes(catalog.find(lora(root / "ink.safetensors", rank=2).stem))
    lora(root / "ink.safetensors", rank=3)
    assert catalog.find("ink").autov3 == ""
    assert catalog.hashes(catalog.find("ink")) != before
