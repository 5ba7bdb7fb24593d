"""`points.layers`: several annotation layers as one source, with the name of the layer in a column."""

import json

import numpy as np
import pytest
from program import drop_counts, error_message, manifest, pointshard, vnc_config
from readers import with_zarr
from test_objects_by_id import RESOLUTION, SIZE, job, write_layer

LABELS = {"enum_values": [0, 1], "enum_labels": ["small", "large"]}
PROPERTIES = {
    "chemical": [{"id": "score", "type": "float32"}, {"id": "size", "type": "uint8", **LABELS}, {"id": "checked", "type": "uint8"}],
    "electrical": [{"id": "size", "type": "uint8", **LABELS}, {"id": "score", "type": "float32"}],
    "unsure": [{"id": "score", "type": "float32"}, {"id": "author", "type": "uint16"}, {"id": "size", "type": "uint8", **LABELS}],
}
# In a different order with `score`, which has the same type.
for number, specs in enumerate(PROPERTIES.values()):
    specs.insert(number % 2, {"id": "area", "type": "float32"})


def state(folder, properties=PROPERTIES, first_ids=(0, 1000, 2000), name="state.json"):
    """A viewer state with a layer of points, one of lines, and one of both; returns the rows: layer, id, anchor, values."""
    rng, rows, layers = np.random.default_rng(4), [], []
    for number, (layer, specs) in enumerate(properties.items()):
        annotations = []
        for n in range(12):
            ends = rng.integers(0, SIZE, (2, 3)).astype(float)
            values = {"score": round(rng.random(), 3), "size": int(rng.integers(2)), "checked": 1, "author": 7, "layer": 0, "area": -n}
            is_line = number == 1 or (number == 2 and n % 2)
            shape = {"type": "line", "pointA": ends[0].tolist(), "pointB": ends[1].tolist()} if is_line else {"type": "point", "point": ends[0].tolist()}
            annotations.append({**shape, "id": str(first_ids[number] + n), "props": [values[spec["id"]] for spec in specs]})
            rows.append((layer, first_ids[number] + n, tuple(ends.mean(0) if is_line else ends[0]), values["score"], values["size"], -n))
        layers.append({"type": "annotation", "name": layer, "source": "local://annotations", "annotations": annotations, "annotationProperties": specs})
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", RESOLUTION)}
    (folder / name).write_text(json.dumps({"dimensions": dimensions, "layers": layers}))
    return rows


def several_job(folder, points):
    path = job(folder, {"img": {"layer": "img"}}, [], ["img"])
    config = json.loads(path.read_text())
    sources = {layer: f"state.json|neuroglancer-state:{layer}" for layer in PROPERTIES}
    config["collection"]["boxes"]["layers"] |= sources
    config["points"] = points
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def rows(tmp_path):
    write_layer(tmp_path / "img", np.random.default_rng(1).integers(1, 255, SIZE).astype("uint8"))
    return state(tmp_path)


def samples(out):
    group = with_zarr(out, "train")
    layer, size = group["property_layer"], group["property_size"]
    names = dict(zip(layer.attrs["flag_values"], layer.attrs["flag_meanings"]))
    assert size.attrs["flag_meanings"] == ["small", "large"]
    columns = [layer[:], group["annotation_id"][:], np.divide(group["center_nm"][:], RESOLUTION), group["property_score"][:], size[:], group["property_area"][:]]
    return sorted((names[int(n)], int(i), tuple(np.round(p, 9).tolist()), round(float(s), 3), int(v), int(a)) for n, i, p, s, v, a in zip(*columns))


@pytest.mark.parametrize("is_state", [True, False])
def test_annotations_of_all_layers_have_the_name_of_their_layer(tmp_path, rows, is_state):
    names = ["chemical", "unsure", "electrical"]
    points = {"neuroglancer_state": {"source": "state.json", "layers": names}} if is_state else {"layers": names}
    pointshard("preprocess", several_job(tmp_path, points), "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    assert samples(tmp_path / "out") == sorted(rows)
    group = with_zarr(tmp_path / "out", "train")
    assert group["property_layer"].attrs["flag_meanings"] == names
    # Properties that not all layers have get no column, and a warning.
    assert "property_checked" not in group and "property_author" not in group
    warnings = [w for w in manifest(tmp_path / "out")["warnings"] if "gets no column" in w]
    assert len(warnings) == 2 and "`checked` of the layer `chemical`" in warnings[0] and "`author` of the layer `unsure`" in warnings[1]


def test_some_layers_and_filters_by_their_names(tmp_path, rows):
    points = {"layers": ["unsure", "chemical"], "choose": {"filter": {"layer": {"in": ["chemical"]}, "size": {"in": ["large"]}}}}
    pointshard("preprocess", several_job(tmp_path, points), "--out", tmp_path / "out")
    kept = sorted(row for row in rows if row[0] == "chemical" and row[4] == 1)
    assert samples(tmp_path / "out") == kept and 0 < len(kept) < 12
    assert drop_counts(tmp_path / "out") == {"filter": 24 - len(kept)}


def test_a_property_with_other_labels_is_another_property(tmp_path, rows):
    specs = json.loads(json.dumps(PROPERTIES))
    specs["unsure"][3]["enum_labels"] = ["large", "small"]
    state(tmp_path, specs)
    pointshard("preprocess", several_job(tmp_path, {"layers": list(specs)}), "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    assert "property_size" not in group and "property_score" in group
    assert any("`size`" in w and "labels" in w for w in manifest(tmp_path / "out")["warnings"])


def test_wrong_layers_are_errors(tmp_path, rows):
    for points, words in [
        ({"layers": ["chemical"], "layer": "unsure"}, ["found several sources", "`layers`"]),
        ({"layers": []}, ["`layers` is empty"]),
        ({"layers": ["chemical", "unsure", "chemical"]}, ["`chemical` twice"]),
        ({"layers": ["chemical", "electric"]}, ["`points.layers`", "did you mean `electrical`"]),
        ({"neuroglancer_state": {"source": "state.json", "layer": "unsure", "layers": ["chemical"]}}, ["at most one"]),
        ({"layers": ["chemical", "unsure"], "choose": {"related": {"cell": [1]}}}, ["`points.choose.related.cell`", "of several"]),
    ]:
        message = error_message("preprocess", several_job(tmp_path, points), "--out", tmp_path / "out")
        for word in words:
            assert word in message, (points, message)
    state(tmp_path, first_ids=(0, 1000, 5))
    path = several_job(tmp_path, {"layers": ["chemical", "unsure"]})
    message = error_message("preprocess", path, "--out", tmp_path / "out", code=1)
    assert "`chemical` and `unsure`" in message and "the same id, 5" in message
    state(tmp_path, {"chemical": [{"id": "layer", "type": "uint8"}], "unsure": []})
    message = error_message("preprocess", path, "--out", tmp_path / "out")
    assert "a property `layer`" in message and "`points.layers`" in message


def test_layers_of_a_collection_with_equal_ids(shared, tmp_path):
    config = vnc_config(tmp_path, points={"layers": ["points", "lines"]})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`points` and `lines`" in message and "the same id" in message
