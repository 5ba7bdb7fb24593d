"""`snap: "zetta"` at any resolution, compared with zetta_utils' rule."""

import json
import math
import random

import numpy as np
import pytest
from program import pointshard, vnc_config
from volumes import write_huge_empty_layer

# Like zetta_utils' `BBox3D` with neuroglancer's box class: float32, `int`, then `snapped(..., "floor")`.


def snapped(x, r):
    return round(math.floor(round(int(float(np.float32(x))) / r, 10)) * r, 10)


def samples_of(config, *splits):
    planned = json.loads(pointshard("plan", config, "--json").stdout)["splits"]
    return {int(s["annotation_id"]) for split in splits for s in planned[split]}


def test_a_corner_on_a_whole_voxel_does_not_move(shared):
    """6.4 nm: 32 = 5 * 6.4 and 320 = 50 * 6.4, but Python's `32 // 6.4` is 4.0. The expected samples come from zetta_utils."""
    folder = shared / "data/zetta/snap_floor_rule"
    assert samples_of(folder / "config.json", "train") == {2, 4, 5, 6}


def resolutions(rng, n):
    """Resolutions in nm: multiples of 0.1, 4.6 and 6.4, thirds, and values rounded to float32."""
    kinds = [
        lambda: rng.randrange(1, 1000) / 10,
        lambda: rng.choice([4.6, 6.4, 3.6, 33.3333, 12.8, 16.8, 0.36, 7.0]),
        lambda: rng.choice([4.6, 6.4]) * rng.randrange(1, 9),
        lambda: rng.randrange(1, 400) / 3,
        lambda: float(np.float32(rng.uniform(0.5, 100))),
        lambda: rng.uniform(0.5, 100),
    ]
    return [kinds[i % len(kinds)]() for i in range(n)]


def corner(rng, r):
    """A corner on, just below or just above a voxel boundary, on a whole nm, or anywhere; of either sign."""
    voxel = rng.randrange(-3000, 3000) * r
    kinds = [
        round(voxel),
        voxel,
        round(voxel) + rng.choice([-1e-3, 1e-3, -1e-7, 1e-7]),
        rng.randrange(-50000, 50000),
        rng.uniform(-50000, 50000),
    ]
    return float(rng.choice(kinds))


@pytest.mark.parametrize("seed", [1, 2])
def test_snap_rounds_boxes_down_to_whole_voxels_at_any_resolution(tmp_path, seed):
    """Each box has its own z resolution, through `flexible_z`, and points on both sides of its expected faces.

    Points are rounded to ten decimals too: a face at 3260 * 4.6 nm is at 14996, not at 14995.999999999998."""
    rng = random.Random(seed)
    rows = {"layer_groups": [], "layers": [], "annotations": []}
    points, expected, moved_up = [], set(), 0
    for i, r in enumerate(resolutions(rng, 2000)):
        source = write_huge_empty_layer(tmp_path / str(i), [1, 1, r])
        rows["layers"].append({"id": str(i), "name": "img", "source": source})
        rows["layer_groups"].append({"id": f"g{i}", "layers": [str(i)]})
        a = corner(rng, r)
        b = a + rng.choice([-1, 1]) * rng.randrange(1, 40) * r
        box = {"pointA": [10 * i, 0, a], "pointB": [10 * i + 5, 5, b], "tags": ["train"], "layer_group": f"g{i}"}
        rows["annotations"].append({"type": "axis_aligned_bounding_box", "id": f"b{i}", **box})
        low, high = snapped(min(a, b), r), snapped(max(a, b), r)
        moved_up += low > min(a, b) // r * r + 1e-9
        for face in (low, high):
            for z in (face, math.nextafter(face, -math.inf), math.nextafter(face, math.inf), face - r / 2, face + r / 2):
                if low <= round(z, 10) < high:
                    expected.add(len(points))
                points.append((10 * i + 1, 1, z))
    assert moved_up > 10, "too few corners distinguish the rule from Python's `//`"
    (tmp_path / "collection.json").write_text(json.dumps(rows))
    lines = ["id,x,y,z", *(f"{i},{x},{y},{z!r}" for i, (x, y, z) in enumerate(points))]
    (tmp_path / "points.csv").write_text("\n".join(lines))
    csv = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
    config = vnc_config(
        tmp_path, collection="collection.json", resolution=[1, 1, 1], window=[1, 1, 1], points={"table": csv},
        arrays={"img": {"layer": "img"}}, splits={"train": ["train"]}, snap="zetta", flexible_z=True,
    )  # fmt: skip
    found = samples_of(config, "train")
    wrong = sorted(found ^ expected)
    assert not wrong, [(points[i], rows["annotations"][points[i][0] // 10], i in found) for i in wrong[:5]]
    assert 8000 < len(found) < 12000
