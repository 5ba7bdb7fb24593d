"""Invalid arrays, splits and choices in a config: exit code 2 and one message with the JSON path."""

import pytest
from program import error_message, vnc_config


def img(**keys):
    return {"arrays": {"img": {"layer": "img", **keys}}}


def seg(**keys):
    return {"arrays": {"cell": {"layer": "seg", **keys}}}


BAD = {
    "an unknown transform": (img(transform="nonzeros"), ["arrays.img.transform", "nonzeros", "did you mean `nonzero`"]),
    "a transform without its value": (img(transform="equals"), ["arrays.img"]),
    "an object without options": (seg(transform="object_at"), ["arrays.cell.transform", "`object_at` needs options", '{"object_at": {"point": ']),
    "a scale without options": (img(transform="scale"), ["arrays.img.transform", "`scale` needs options", '{"scale": {"multiply": ']),
    "options of a transform without": (img(transform={"nonzero": {}}), ["arrays.img.transform", '`nonzero` has no options, expected "nonzero"']),
    "a transform that is a number": (img(transform=3), ["arrays.img.transform", '"nonzero"', '{"equals": 7}']),
    "a leak dropped from nowhere": ({"leaks": "drop_from"}, ["leaks", "`drop_from` needs options", '{"drop_from": "val"}']),
    "options of a leak without": ({"leaks": {"warn": "train"}}, ["leaks", "`warn` has no options"]),
    "two transforms": (img(transform={"equals": 1, "in": [2]}), ["arrays.img.transform"]),
    "ids as text": (seg(transform={"equals": "648518346351480765"}), ["arrays.cell.transform", "648518346351480765"]),
    "a negative id": (seg(transform={"equals": -1}), ["arrays.cell.transform", "-1"]),
    "an id beyond 64 bits": (seg(transform={"in": [2**64]}), ["arrays.cell.transform"]),
    "no ids": (seg(transform={"in": []}), ["arrays.cell.transform.in", "at least one"]),
    "a misspelt scale": (img(transform={"scale": {"multply": 2}}), ["arrays.img.transform", "multply"]),
    "an unknown type": (img(dtype="uint7"), ["arrays.img.dtype", "uint7"]),
    "a type of complex numbers": (img(dtype="complex64"), ["arrays.img.dtype", "complex64"]),
    "an object at no point": (seg(transform={"object_at": {}}), ["arrays.cell.transform", "point"]),
    "an object at the middle": (seg(transform={"object_at": {"point": "middle"}}), ["arrays.cell.transform", "middle"]),
    "a negative radius": (seg(transform={"object_at": {"point": "start", "radius_nm": -1}}), ["arrays.cell.transform.object_at.radius_nm", "-1"]),
    "a radius beyond reason": (seg(transform={"object_at": {"point": "start", "radius_nm": 1e9}}), ["arrays.cell.transform.object_at.radius_nm"]),
    "a share above 1": (img(min_nonzero_fraction=1.5), ["arrays.img.min_nonzero_fraction", "1.5"]),
    "a window of 0": (img(window=[8, 0, 8]), ["arrays.img.window", "[8, 0, 8]"]),
    "a resolution of 0": (img(data_resolution=[4.6, 0, 45], interpolation="area"), ["arrays.img.data_resolution"]),
    "a resolution without interpolation": (img(data_resolution=[9.2, 9.2, 45]), ["arrays.img", "`interpolation`", "`nearest`"]),
    "interpolation without resolution": (img(interpolation="area"), ["arrays.img", "`data_resolution`"]),
    "an unknown interpolation": (img(data_resolution=[9.2, 9.2, 45], interpolation="cubic"), ["arrays.img.interpolation", "cubic"]),
    "a mean of a mask": (img(data_resolution=[9.2, 9.2, 45], interpolation="area", transform="nonzero"), ["arrays.img.interpolation", "nearest"]),
    "a resolution of the data that no scale has": (img(data_resolution=[5, 5, 45], interpolation="area"), ["arrays.img.data_resolution", "5 x 5 x 45"]),
    "a mean of labels": (seg(data_resolution=[4.6, 4.6, 45], interpolation="area"), ["arrays.cell", "nearest"]),
    "a fill that does not fit": (img(fill=256), ["arrays.img", "256", "uint8"]),
    "a broken fill": (img(fill=0.5), ["arrays.img", "0.5", "uint8"]),
    "a negative fill": (img(fill=-1), ["arrays.img", "-1", "uint8"]),
    "an unknown role": (img(role="label"), ["arrays.img.role", "label"]),
    "a mask of nothing": (img(role="mask"), ["arrays.img.role", "_mask"]),
    "a mask of an array that is not there": ({"arrays": {"a": {"layer": "img"}, "b_mask": {"layer": "img", "role": "mask"}}}, ["arrays.b_mask.role"]),
    "a name of a column of starts": ({"arrays": {"img_start_voxel": {"layer": "img"}}}, ["arrays.img_start_voxel", "index column"]),
    "a name of a column of objects": ({"arrays": {"img_object_id": {"layer": "img"}}}, ["arrays.img_object_id", "index column"]),
    "the column of resolutions": ({"arrays": {"resolution_nm": {"layer": "img"}}}, ["arrays.resolution_nm", "index column"]),
    "an unknown axis order": ({"axis_order": "xyzc"}, ["axis_order", "xyzc"]),
    "an unknown snap": ({"snap": "grid"}, ["snap", "grid"]),
    "outside in two minds": ({"outside": "crop"}, ["outside", "crop"]),
    "flexible in words": ({"flexible_z": "yes"}, ["flexible_z", "yes"]),
    "a split without tags": ({"splits": {"train": {}}}, ["splits.train"]),
    "a split with a misspelt key": ({"splits": {"train": {"al": ["train"]}}}, ["splits.train", "al", "did you mean `all`"]),
    "a split of text": ({"splits": {"train": {"any": "train"}}}, ["splits.train", "any"]),
    "a leak dropped from no split": ({"leaks": {"drop_from": "test"}}, ["leaks.drop_from", "test"]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected_text"), BAD.values(), ids=BAD.keys())
def test_a_bad_array_split_or_choice_is_an_error_with_its_json_path(shared, tmp_path, change, expected_text):
    message = error_message("preprocess", vnc_config(tmp_path, **change), "--out", tmp_path / "out")
    for text in expected_text:
        assert text in message, message
    assert not (tmp_path / "out").exists()
