"""An embedded database whose process is killed, whose disk is full or read-only, or whose bytes are damaged."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from killed_commits import kill_commits
from li_p_s_states import NODE, Lineage, new_node

from coevo.errors import CorruptArtifactError, StorageError
from coevo.node_store.store import open_store
from coevo.settings import Settings

HERE = Path(__file__).parents[1]


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(database=f"file:{tmp_path / 'data'}")


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def no_leftovers(directory: Path) -> bool:
    return not list(directory.rglob(".tmp-*"))


# --- killed


@pytest.mark.long
def test_a_commit_that_is_killed_anywhere_is_completed_by_the_next(tmp_path):
    """SIGKILL before every call that changes the disk; reopened: the old state or the new, and the same commit completes it."""
    patches = {"os": ["fsync", "replace", "rename", "link", "mkdir", "fchmod", "unlink", "utime", "rmdir"]}
    killed = kill_commits(patches, {"database": f"file:{tmp_path}/POINT"})
    visible = killed.check_every_point()
    assert len(visible) >= 30
    assert not visible[0]
    # once the branch has moved it stays moved
    assert visible == sorted(visible)
    assert visible[-1]
    for point in killed.points:
        assert no_leftovers(tmp_path / str(point) / NODE)


# --- disk full, read-only, not permitted


def _in_a_namespace(script: str, tmp_path: Path) -> str:
    """Run a script that may mount file systems for itself; skip (in CI: fail) where the kernel forbids it."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        reason = f"this kernel lets no user mount a file system of his own: {err}"
        if os.environ.get("CI"):
            pytest.fail(reason)  # there, a fault that is not tried is not tested
        pytest.skip(reason)
    code = f"import sys; sys.path.insert(0, {str(HERE)!r})\n" + textwrap.dedent(script)
    done = subprocess.run(
        [*unshare, sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_a_full_disk_changes_nothing_and_the_commit_succeeds_with_more_space(tmp_path):
    """A real file system of 600 kB."""
    output = _in_a_namespace(
        """
        import subprocess
        from pathlib import Path
        from coevo.errors import StorageError
        from coevo.node_store.store import open_store
        from coevo.settings import Settings
        from li_p_s_states import NODE, new_node
        root = Path(sys.argv[1])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(root)], check=True)
        settings = Settings(database=f"file:{root}/data")
        store = open_store(settings)
        lineage = new_node(store)
        first = lineage.commit()
        (root / "ballast").write_bytes(bytes(350_000))
        draft = lineage.draft(n_entries=500)
        try:
            store.commit(draft, "main", first)
        except StorageError as err:
            print(err)
        try:
            store.artifacts.put_bytes(bytes(1_000_000))
        except StorageError as err:
            print(err)
        store = open_store(settings)
        assert store.head(NODE) == first
        assert len(list(store.state(NODE).structure_documents())) == 4
        assert not list(root.rglob(".tmp-*")), list(root.rglob(".tmp-*"))
        for blob in (root / "data" / "blobs").rglob("*"):
            if blob.is_file():
                store.artifacts.get_bytes(blob.parent.name + blob.name)
        subprocess.run(["mount", "-o", "remount,size=30m", str(root)], check=True)
        second = store.commit(draft, "main", first)
        assert open_store(settings).head(NODE) == second
        """,
        tmp_path,
    )
    commit, blob = output.splitlines()
    assert "No space left on device" in commit
    assert str(tmp_path) in commit
    assert "free some space" in commit
    assert blob.startswith("writing an artifact failed at")


def test_a_read_only_file_system_can_be_read(tmp_path):
    output = _in_a_namespace(
        """
        import subprocess
        from coevo.errors import StorageError
        from coevo.node_store.store import open_store
        from coevo.settings import Settings
        from li_p_s_states import NODE, new_node
        root = sys.argv[1]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root], check=True)
        settings = Settings(database=f"file:{root}/data")
        lineage = new_node(open_store(settings))
        first = lineage.commit()
        draft = lineage.draft()
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        store = open_store(settings)
        assert len(list(store.state(NODE).entries({"nsites": {"$gt": 0}}))) == 4
        assert len(list(store.state(NODE).labels())) == 3
        def locked():
            with store.run_lock(NODE):
                pass
        for write in (
            lambda: store.commit(draft, "main", first),
            lambda: store.artifacts.put_bytes(b"new"),
            lambda: store.put_job_result("ab" * 32, {}),
            lambda: store.write_config_text(NODE, "x"),
            lambda: store.create_node("other", ["Li"], {}, ""),
            lambda: store.start_campaign(NODE, "main", 1, first),
            locked,
        ):
            try:
                write()
            except StorageError as err:
                print(err)
            else:
                print("no error")
        """,
        tmp_path,
    )
    lines = output.splitlines()
    assert len(lines) == 7
    for line in lines:
        assert "Read-only file system; the file system is mounted read-only" in line
        assert str(tmp_path) in line


def test_a_directory_without_permission_says_so(settings, tmp_path):
    """As an ordinary user: permissions do not bind root, so the process gives root away first."""
    lineage = new_node(open_store(settings))
    lineage.commit()
    script = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
from coevo.errors import StorageError
from coevo.node_store.store import open_store
from coevo.settings import Settings
from li_p_s_states import NODE, new_node

def reads(store):
    return len(list(store.state(NODE).structure_documents()))

def writes(store):
    yield lambda: store.artifacts.put_bytes(b"new")
    yield lambda: store.put_job_result("ab" * 32, dict())
    yield lambda: store.run_lock(NODE).__enter__()

own = open_store(Settings(database=sys.argv[2]))  # everything is imported before root is given away
new_node(own).commit()
assert reads(own) == 4
[write() for write in writes(own)]
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = open_store(Settings(database=sys.argv[1]))
assert reads(store) == 4
for write in writes(store):
    try:
        write()
    except StorageError as err:
        print(err)
"""
    folders = [settings.directory, *(path for path in settings.directory.rglob("*") if path.is_dir())]
    for path in settings.directory.parents:
        if path.stat().st_uid == os.getuid() and path.name.startswith(("pytest-", "popen-", "test_")):
            path.chmod(0o755)  # the directories of pytest and of its workers are closed to others
    for path in folders:
        path.chmod(0o555)
    command = [sys.executable, "-c", script, settings.database, f"file:{tmp_path / 'own'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    for path in folders:
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("Permission denied; give this user write permission there" in line for line in lines)


@pytest.mark.parametrize("call", ["fsync", "replace", "rename", "link"])
def test_an_error_of_any_call_leaves_no_half_written_file(settings, monkeypatch, call):
    """The n-th call fails with a full disk, for every n, until the commit lives."""
    lineage = new_node(open_store(settings))
    first = lineage.commit()
    draft = lineage.draft()
    original, count, point = getattr(os, call), 0, 0

    def failing(*args, **kwargs):
        nonlocal count
        count += 1
        if count == point:
            raise OSError(28, "No space left on device", str(args[0]))
        return original(*args, **kwargs)

    messages = []
    while len(messages) < 60:
        before, count, point = files(settings.directory), 0, point + 1
        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            try:
                open_store(settings).put_job_result("cd" * 32, {"n": 1})
                open_store(settings).commit(draft, "main", first)
            except StorageError as err:
                messages.append(str(err))
            else:
                break
        assert no_leftovers(settings.directory)
        changed = {name for name, data in files(settings.directory).items() if before.get(name) != data}
        # only whole things may have been added: the job result, the manifest, the state's directory, at last the branch
        assert {name.removeprefix(f"{NODE}/").split("/")[0] for name in changed} <= {"jobs", "blobs", "states", "refs", ".lock"}
        assert len(list(open_store(settings).state(NODE).structure_documents())) in {4, 8}
    assert messages
    assert all("No space left on device; free some space" in message for message in messages)
    assert len(list(open_store(settings).state(NODE).structure_documents())) == 8


# --- damaged


@pytest.fixture
def committed(settings) -> Lineage:
    lineage = new_node(open_store(settings))
    lineage.commit()
    lineage.commit()
    return lineage


def read_everything(settings: Settings) -> int:
    view = open_store(settings).state(NODE)
    count = 0
    for state in (view, *view.ancestors()):
        documents = [*state.evaluations(), *state.structure_documents(), *state.references(), *state.labels()]
        documents += [state.manifest, *state.entries({"nsites": {"$gt": 0}})]
        count += len(documents)
    return count


def state_files(settings: Settings) -> list[Path]:
    return [path for path in sorted((settings.directory / NODE / "states").rglob("*")) if path.is_file()]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_any_damaged_file_of_a_state_is_noticed(settings, committed, damage):
    """Each file of each state in turn; a segment without documents is never read, and has nothing to lose."""
    whole = read_everything(settings)
    paths = state_files(settings)
    assert len(paths) == 2 * 12
    for path in paths:
        data = path.read_bytes()
        if not data or (path.suffix == ".zst" and _is_unused(path)):
            continue
        if damage == "remove":
            path.unlink()
        else:
            middle = len(data) // 2
            flipped = data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]
            path.write_bytes({"flip": flipped, "truncate": data[:-5], "empty": b""}[damage])
        with pytest.raises((CorruptArtifactError, StorageError)) as caught:
            read_everything(settings)
        assert path.name in str(caught.value) or path.parent.name in str(caught.value)
        path.write_bytes(data)
    assert read_everything(settings) == whole


def _is_unused(path: Path) -> bool:
    segment = path.with_name(path.name.replace(".index.zst", ".jsonl.zst"))
    return segment.stat().st_size == 0


def test_every_single_flipped_byte_of_a_segment_is_noticed(settings, committed):
    path = max(state_files(settings), key=lambda path: path.stat().st_size if path.name == "structures.jsonl.zst" else 0)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CorruptArtifactError, match=r"structures.jsonl.zst \(frame 0: .* is damaged: expected sha256"):
            list(open_store(settings).state(NODE).structure_documents())
    path.write_bytes(data)


def test_a_flipped_byte_in_the_manifest_is_noticed(settings, committed):
    view = open_store(settings).state(NODE)
    sha256 = view.document["manifest"]["sha256"]
    blob = settings.directory / "blobs" / sha256[:2] / sha256[2:]
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match=f"artifact .*{sha256[2:]} is damaged: expected sha256 {sha256}, found"):
        _ = open_store(settings).state(NODE).manifest


def test_a_damaged_state_is_repaired_by_the_same_commit(settings):
    store = open_store(settings)
    lineage = new_node(store)
    draft = lineage.draft()
    state = store.commit(draft, "main", None)
    (settings.directory / NODE / "refs" / "main").unlink()
    segment = settings.directory / NODE / "states" / state / "evaluations.jsonl.zst"
    segment.write_bytes(segment.read_bytes()[:-20])
    assert open_store(settings).commit(draft, "main", None) == state
    assert read_everything(settings) > 0


def test_a_state_that_was_edited_by_hand_is_noticed_even_with_a_new_seal(settings, committed):
    from coevo.node_store.durable import read_sealed, seal

    view = open_store(settings).state(NODE)
    path = settings.directory / NODE / "states" / view.id / "state.json"
    stored = read_sealed(path, "state")
    stored["state"]["metrics"]["sun"] = 10_000
    path.write_bytes(seal(stored))
    with pytest.raises(CorruptArtifactError, match=f"state {view.id} .* is damaged: expected id {view.id}, found"):
        open_store(settings).state(NODE)


def test_a_state_that_vanished_is_named(settings, committed):
    view = open_store(settings).state(NODE)
    shutil.rmtree(settings.directory / NODE / "states" / view.parents[0])
    with pytest.raises(StorageError, match=view.parents[0]):
        list(open_store(settings).state(NODE).structure_documents())


def test_a_damaged_job_result_is_noticed(settings):
    store = open_store(settings)
    store.put_job_result("ef" * 32, {"n": 1})
    path = settings.directory / "jobs" / "ef" / ("ef" * 32 + ".json")
    path.write_text(path.read_text().replace('"n": 1', '"n": 2'))
    with pytest.raises(CorruptArtifactError, match=f"result of job {'ef' * 32} at .* is damaged"):
        store.job_result("ef" * 32)
