"""`pointshard check --repair` restores every kind of damage in every kind of file, to the byte."""

import gzip
import json
import shutil

import pytest
from program import VNC, file_digests, pointshard, vnc_config
from test_bucket_output import Bucket, client  # noqa: F401
from test_check import flip, inner_chunk, the_shard


def plan_folder(out):
    (folder,) = [path for path in (out / ".pointshard/plan").iterdir()]
    return folder.relative_to(out)


# Kinds of files. A name that begins with `plan/` is in the folder of the plan.
KINDS = {
    "manifest": "manifest.json",
    "metadata of a group": "train.zarr/zarr.json",
    "metadata of an array": "train.zarr/label0/zarr.json",
    "metadata of a column": "val.zarr/center_nm/zarr.json",
    "values of a column": "val.zarr/center_nm/c.0.0",
    "nonzero fractions": "train.zarr/img_nonzero_fraction/c.0",
    "shard": "train.zarr/img/c.2.0.0.0.0",
    "receipt": ".pointshard/receipts/train/img/2.json",
    "claim": ".pointshard/claim.json",
    "plan": ".pointshard/plan.json",
    "copy of the plan": "plan/plan.json",
    "metadata of a column of the plan": "plan/train/annotation_id/zarr.json",
    "values of a column of the plan": "plan/train/annotation_id/c.0",
}


def path_of(kind, out):
    path = KINDS[kind]
    return str(plan_folder(out) / path.removeprefix("plan/")) if path.startswith("plan/") else path


def report(out, *arguments, code=0):
    return json.loads(pointshard("check", out, "--json", "--quiet", *arguments, code=code).stdout)


def errors(out, *arguments):
    found = report(out, *arguments, code=1)
    return [f for f in found["findings"] if f["severity"] == "error"]


def regions(kind, file, out):
    """Bytes of the file: one in each of its parts."""
    size = file.stat().st_size
    if kind != "shard":
        return [0, size // 3, size // 2, size - 2]
    chunks = [inner_chunk(file, sample) for sample in range(3)]
    values = [offset + length // 2 for offset, length in chunks]
    checksums = [offset + length - 1 for offset, length in chunks]
    return [*values, *checksums, size - 4 - 16 * 3, size - 4 - 8, size - 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_in_every_part_of_every_kind_of_file_is_found_and_repaired(vnc_copy, kind):
    _, out = vnc_copy
    before = file_digests(out)
    path = path_of(kind, out)
    assert path in before
    for bit, byte in enumerate(regions(kind, out / path, out)):
        flip(out / path, byte, bit % 8)
        found = errors(out)
        assert path in {f["file"] for f in found}, f"{path} byte {byte}: {found}"
        if kind == "shard":
            (hit,) = found
            first = the_shard(out)["first_sample"]
            affected = [bit % 3] if bit < 6 else [0, 1, 2]
            assert hit["samples"] == [first + sample for sample in affected], f"byte {byte}: {hit}"
        repaired = report(out, "--repair")
        assert repaired["ok"] and file_digests(out) == before, f"{path} byte {byte}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_file_and_one_that_was_cut_are_repaired(vnc_copy, kind):
    _, out = vnc_copy
    before = file_digests(out)
    path = path_of(kind, out)
    for damage in ("delete", "cut", "empty"):
        data = (out / path).read_bytes()
        (out / path).unlink()
        if damage != "delete":
            (out / path).write_bytes(data[: len(data) // 2 if damage == "cut" else 0])
        assert errors(out)
        assert report(out, "--repair")["ok"] and file_digests(out) == before, damage


def test_all_kinds_of_damage_at_once_are_repaired(vnc_copy):
    _, out = vnc_copy
    before = file_digests(out)
    for kind in KINDS:
        # A column of the plan is restored from that of the dataset, and plan.json from its copy.
        if kind not in ("copy of the plan", "nonzero fractions"):
            path = out / path_of(kind, out)
            flip(path, path.stat().st_size // 2)
    said = pointshard("check", out, "--repair")
    assert "ok: " in said.stdout and "1 shard written again" in said.stderr
    assert file_digests(out) == before


def test_a_quick_check_repairs_what_it_finds(vnc_copy):
    _, out = vnc_copy
    before = file_digests(out)
    flip(out / the_shard(out)["path"], 9)
    said = pointshard("check", out, "--quick", code=1).stdout
    assert "--repair" in said
    pointshard("check", out, "--quick", "--repair")
    assert file_digests(out) == before


def test_an_intact_dataset_and_files_of_others_are_not_changed(vnc_copy):
    _, out = vnc_copy
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    pointshard("check", out, "--repair")
    note = out / "train.zarr/notes.txt"
    note.write_text("mine")
    said = pointshard("check", out, "--repair", code=1).stdout
    assert "unexpected_file" in said and "--repair" not in said
    assert note.read_text() == "mine"
    note.unlink()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times


def copy_of_vnc(folder):
    return shutil.copytree(VNC, folder / "vnc", ignore=shutil.ignore_patterns("*.npy", "*.npz"))


def job_on_a_copy(folder):
    """Sources that the test may change, and the config and the dataset of a job on them."""
    job = copy_of_vnc(folder)
    config, out = vnc_config(folder, collection=str(job / "collection.json"), shard_samples=4), folder / "out"
    pointshard("preprocess", config, "--out", out)
    return job, config, out


def test_columns_are_repaired_without_the_sources_and_shards_are_not(tmp_path):
    """Config, collection and annotations are not needed, either."""
    job = copy_of_vnc(tmp_path)
    config = {
        "collection": str(job / "collection.json"),
        "resolution": [4.6, 4.6, 45.0],
        "window": [32, 32, 8],
        "points": {"layer": "points"},
        "arrays": {"img": {"layer": "img"}},
        "splits": {"train": ["train"]},
        "shard_samples": 3,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    pointshard("preprocess", tmp_path / "config.json", "--out", out)
    before = file_digests(out)
    (tmp_path / "config.json").unlink()
    (job / "collection.json").unlink()
    shutil.rmtree(job / "points")
    flip(out / the_shard(out)["path"], 20)
    flip(out / "train.zarr/box/c.0", 20)
    pointshard("check", out, "--repair")
    assert file_digests(out) == before
    job.rename(tmp_path / "elsewhere")
    flip(out / "train.zarr/box/c.0", 20)
    pointshard("check", out, "--repair")
    assert file_digests(out) == before
    flip(out / the_shard(out)["path"], 20)
    damaged = file_digests(out)
    said = pointshard("check", out, "--repair", code=1).stderr
    assert str(job / "img") in said and f"preprocess CONFIG --out {out}" in said
    # What could be read before can be read still.
    assert file_digests(out) == damaged
    # The rest can be repaired when the source is there again.
    (tmp_path / "elsewhere").rename(job)
    pointshard("check", out, "--repair")
    assert file_digests(out) == before


def test_a_repair_that_fails_leaves_everything_that_can_be_read(tmp_path):
    """Two shards are damaged; the source of one of them cannot be read. Then the source moves."""
    job, config, out = job_on_a_copy(tmp_path)
    before = file_digests(out)
    shards = [f"train.zarr/{array}/c.1.0.0.0.0" for array in ("img", "label0")]
    for shard in shards:
        flip(out / shard, 20)
    damaged = file_digests(out)
    chunks = list((job / "img/9.2_9.2_45.0").iterdir()) + list((job / "img/4.6_4.6_45.0").iterdir())
    originals = {chunk: chunk.read_bytes() for chunk in chunks}
    info = (job / "img/info").read_text()
    harm = {
        "chunks": lambda: [chunk.write_bytes(b"not a chunk") for chunk in chunks],
        "metadata": lambda: (job / "img/info").write_text(info.replace("uint8", "uint16")),
        "volume": lambda: (job / "img").rename(job / "moved"),
    }
    for what, do_harm in harm.items():
        do_harm()
        pointshard("check", out, "--repair", code=1)
        after = file_digests(out)
        # One shard may have been repaired already.
        assert after.keys() == before.keys() and after[shards[0]] == damaged[shards[0]], what
        assert {path for path in after if after[path] != damaged[path]} <= {shards[1]}, what
        pointshard("info", out)
        if what == "chunks":
            [chunk.write_bytes(values) for chunk, values in originals.items()]
        elif what == "metadata":
            (job / "img/info").write_text(info)
    collection = json.loads((job / "collection.json").read_text())
    moved = json.dumps(collection).replace("/img\"", "/moved\"")
    assert moved != json.dumps(collection)
    (job / "collection.json").write_text(moved)
    pointshard("preprocess", config, "--out", out, "--verify")
    assert file_digests(out) == before
    pointshard("check", out)


@pytest.mark.parametrize("lost", ["bytes", "size", "shard", "shard and receipt"])
@pytest.mark.parametrize("change", ["voxels", "deleted chunks"])
def test_a_shard_is_not_replaced_by_one_with_other_values(tmp_path, lost, change):
    """The source has changed since: samples that are intact would change, too, and no check could see it."""
    job, config, out = job_on_a_copy(tmp_path)
    before = file_digests(out)
    shard = "train.zarr/img/c.1.0.0.0.0"
    if lost == "bytes":
        flip(out / shard, 20)
    elif lost == "size":
        (out / shard).write_bytes((out / shard).read_bytes()[:-9])
    else:
        (out / shard).unlink()
    if lost == "shard and receipt":
        (out / ".pointshard/receipts/train/img/1.json").unlink()
    damaged = file_digests(out)
    originals = {chunk: chunk.read_bytes() for scale in ("9.2_9.2_45.0", "4.6_4.6_45.0") for chunk in (job / "img" / scale).iterdir()}
    for chunk, values in originals.items():
        if change == "voxels":
            chunk.write_bytes(gzip.compress(bytes(value ^ 1 for value in gzip.decompress(values)), 1))
        else:
            chunk.unlink()
    commands = [("check", out, "--repair"), ("preprocess", "--out", out, "--verify"), ("preprocess", config, "--out", out, "--verify")]
    for command in commands:
        said = pointshard(*command, code=1).stderr
        expected = f"{shard}, or its receipt, is missing or damaged, and would have other values than before"
        assert expected in said and "`img`" in said, command
        assert file_digests(out) == damaged, command
    for chunk, values in originals.items():
        chunk.write_bytes(values)
    pointshard(*commands[0 if lost != "size" else 1])
    assert file_digests(out) == before


def test_shards_whose_sources_are_the_same_are_repaired_beside_others(tmp_path):
    job, _, out = job_on_a_copy(tmp_path)
    before = file_digests(out)
    lost = ["train.zarr/img/c.1.0.0.0.0", "train.zarr/img/c.2.0.0.0.0", "train.zarr/label0/c.1.0.0.0.0", "val.zarr/label1/c.0.0.0.0.0"]
    for shard in lost:
        flip(out / shard, 20)
    damaged = file_digests(out)
    for scale in ("9.2_9.2_45.0", "4.6_4.6_45.0"):
        for chunk in (job / "img" / scale).iterdir():
            chunk.write_bytes(gzip.compress(bytes(value ^ 1 for value in gzip.decompress(chunk.read_bytes())), 1))
    said = pointshard("check", out, "--repair", code=1).stderr
    assert f"{lost[0]} (and 1 more), or its receipt, is missing or damaged" in said
    after = file_digests(out)
    assert {path: after[path] == before[path] for path in lost} == dict(zip(lost, [False, False, True, True]))
    assert [after[path] for path in lost[:2]] == [damaged[path] for path in lost[:2]]


def test_a_plan_that_is_damaged_twice_cannot_be_repaired(vnc_copy):
    config, out = vnc_copy
    before = file_digests(out)
    for kind in ("plan", "copy of the plan"):
        flip(out / path_of(kind, out), 99)
    said = pointshard("check", out, "--repair", code=1).stderr
    assert "plan.json is damaged" in said
    (out / ".pointshard/plan.json").unlink()
    pointshard("preprocess", config, "--out", out)
    pointshard("check", out, "--repair")
    assert file_digests(out) == before
    column = plan_folder(out) / "train/annotation_id/c.0"
    flip(out / column, 9)
    flip(out / "train.zarr/annotation_id/c.0", 9)
    said = pointshard("check", out, "--repair", code=1).stderr
    assert str(column) in said and "delete .pointshard/plan.json" in said
    (out / ".pointshard/plan.json").unlink()
    pointshard("preprocess", config, "--out", out)
    pointshard("check", out, "--repair")
    assert file_digests(out) == before


def test_a_dataset_in_a_bucket_is_repaired_in_place(s3, client, tmp_path):  # noqa: F811
    bucket = Bucket(s3, client)
    pointshard("preprocess", vnc_config(tmp_path), "--out", bucket.out, env=bucket.env)
    before = bucket.digests()
    for name in ("train.zarr/img/c.1.0.0.0.0", "val.zarr/box/c.0", ".pointshard/plan.json", "manifest.json"):
        bucket.delete(name)
    pointshard("check", bucket.out, code=1, env=bucket.env)
    pointshard("check", bucket.out, "--repair", env=bucket.env)
    assert bucket.digests() == before
