"""Boxes in a volume and points in boxes, in the format of the other tools (points.json) and in that of pointshard.

No window extends past the volume, because some tools do not support that. Boxes are disjoint, so that each point is in one box.
"""

import json
import struct

import numpy as np


def apart(rng, volume, window, boxes, box):
    """Lower corners of boxes whose windows share no chunk, so that readers that read box by box decode each chunk once."""
    low, high = room(volume, window, box)
    for _ in range(300):
        taken, corners = [], []
        for _ in range(300):
            corner = rng.integers(low, high + 1)
            first = (corner - low) // volume.chunk
            last = (corner + box + low - 1) // volume.chunk
            if all((last < f).any() or (l < first).any() for f, l in taken):
                taken.append((first, last))
                corners.append(corner)
            if len(corners) == boxes:
                return corners
    raise SystemExit(f"{boxes} boxes of {box.tolist()} do not fit apart: fewer --boxes, a smaller --box-size, a larger --size")


def scattered(rng, volume, window, boxes, box):
    """Lower corners of disjoint boxes. Their windows may share chunks and voxels."""
    low, high = room(volume, window, box)
    grid = (high - low) // box + 1
    if boxes > np.prod(grid):
        raise SystemExit(f"there is room for {np.prod(grid)} boxes of {box.tolist()}: fewer --boxes, a smaller --box-size")
    cells = rng.choice(np.prod(grid), boxes, replace=False)
    return list(low + np.stack(np.unravel_index(cells, grid), 1) * box)


def room(volume, window, box):
    """Lowest and highest lower corner that a box can have."""
    margin = (np.array(window) + 1) // 2
    high = np.array(volume.size) - margin - box
    if (high < margin).any():
        raise SystemExit(f"no box of {box.tolist()} with windows of {list(window)} fits into {list(volume.size)} voxels")
    return margin, high


def write(folder, volume, layers, window, boxes, box, points, share_chunks=False, seed=1):
    """Writes the points of a job, and returns the first voxel of each window, [point, xyz]."""
    rng = np.random.default_rng(seed)
    corners = (scattered if share_chunks else apart)(rng, volume, window, boxes, np.array(box))
    share = [points // boxes + (i < points % boxes) for i in range(boxes)]
    voxels = [rng.integers(corner, corner + box, (n, 3)) for corner, n in zip(corners, share)]
    spans = [{"min": list(map(int, c)), "max": list(map(int, c + box))} for c in corners]
    flat = [{"box": i, "xyz": xyz} for i, inside in enumerate(voxels) for xyz in inside.tolist()]
    document = {"units": "voxel", "resolution": list(volume.resolution), "boxes": spans, "points": flat}
    (folder / "points.json").write_text(json.dumps(document))
    voxels = np.concatenate(voxels)
    annotations(folder / "annotations", volume, voxels)
    collection(folder, volume, layers, spans)
    return voxels - np.array(window) // 2


def annotations(folder, volume, voxels):
    """Writes a Neuroglancer precomputed layer of points. Ids start at 1."""
    (folder / "spatial0").mkdir(parents=True)
    body = voxels.astype("<f4").tobytes() + np.arange(1, len(voxels) + 1).astype("<u8").tobytes()
    (folder / "spatial0/0_0_0").write_bytes(struct.pack("<Q", len(voxels)) + body)
    size = [float(n) for n in volume.size]
    spatial = {"key": "spatial0", "grid_shape": [1, 1, 1], "chunk_size": size, "limit": len(voxels)}
    info = {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {d: [nm * 1e-9, "m"] for d, nm in zip("xyz", volume.resolution)},
        "lower_bound": [0.0, 0.0, 0.0],
        "upper_bound": size,
        "annotation_type": "point",
        "properties": [],
        "relationships": [],
        "by_id": {"key": "by_id"},
        "spatial": [spatial],
    }
    (folder / "info").write_text(json.dumps(info))


def collection(folder, volume, layers, boxes):
    """The boxes as the web API of zetta_utils returns them. All but the last are for training."""
    places = {layer: volume.folder.resolve() / layer for layer in layers} | {"annotations": "./annotations"}
    rows = []
    for i, box in enumerate(boxes):
        low, high = ([v * nm for v, nm in zip(box[end], volume.resolution)] for end in ("min", "max"))
        row = {"type": "axis_aligned_bounding_box", "pointA": low, "pointB": high, "id": f"box{i}", "comment": ""}
        row |= {"layer_group": "all", "collection": "bench", "tags": ["val" if i and i + 1 == len(boxes) else "train"]}
        rows.append(row)
    document = {
        "collections": [{"id": "bench", "name": "bench"}],
        "layer_groups": [{"id": "all", "name": "all", "collection": "bench", "layers": list(places)}],
        "layers": [{"id": n, "name": n, "source": f"precomputed://file://{place}"} for n, place in places.items()],
        "annotations": rows,
    }
    (folder / "collection.json").write_text(json.dumps(document, indent=1))
