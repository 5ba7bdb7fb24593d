"""`pointshard preview`: the page in headless Chromium shows the voxels and columns that zarr reads, without a server."""

import io
import json
import random
import re
import urllib.parse

import numpy as np
import pytest
import tensorstore
import zarr
from browser import Tab
from PIL import Image, PngImagePlugin
from program import REPOSITORY, error_message, manifest, pointshard, vnc_config
from test_check import flip, inner_chunk
from test_check_source import RESOLUTION, SIZE, values_of, write_job, write_layer
from test_dropped import job as dropped_job
from test_dropped import table
from volumes import write_precomputed

# The pixels of a plane of the viewer.
PIXELS = """plane => {
  const canvas = document.querySelector(`.plane.${plane} canvas`);
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [height, width, Array.from(data)];
}"""
CAPTIONS = "[...document.querySelectorAll('#sheet .caption')].map(c => c.textContent)"


def preview(out, folder, *arguments, name="page.html"):
    """Writes the page and returns its path."""
    page = folder / name
    pointshard("preview", out, "--html", page, *arguments)
    return page


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of a dataset, from its file. At the end, its scripts must have had no problem, and made no request."""
    tabs = []

    def open_page(out, *arguments, **context):
        tab = Tab(browser, preview(out, tmp_path, *arguments).as_uri(), **context)
        tabs.append(tab)
        # Cards are drawn when they are visible.
        tab.page.wait_for_selector("#sheet", state="attached")
        return tab.page

    yield open_page
    for tab in tabs:
        tab.context.close()
        assert tab.problems == [] and len(set(tab.requests)) == 1


def samples_of(out):
    """Rows (split, position, columns by name) of all samples."""
    rows = []
    for name, split in manifest(out)["splits"].items():
        group = zarr.open_group(out / split["path"], mode="r")
        columns = {n: a[:] for n, a in group.members() if n not in manifest(out)["arrays"]}
        rows += [(name, i, {n: values[i] for n, values in columns.items()}) for i in range(split["samples"])]
    return rows


def pixels(page, plane="xy"):
    """Rows of pixels, red, green and blue, of a plane of the viewer."""
    height, width, values = page.evaluate(PIXELS, plane)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def plain(page):
    """Shows the image alone, with full contrast. Then keys are not those of a slider."""
    page.get_by_label("black").fill("0")
    page.get_by_label("white").fill("100")
    for box in page.locator("#controls .check input").all():
        box.uncheck()
    page.locator("#next").focus()


def field(page, name):
    """A field of the filter."""
    return page.locator("#filter").get_by_label(name, exact=True)


def overlay(page, array):
    """The check box of an overlay."""
    return page.locator("#controls").get_by_label(array)


def show(page, split, position):
    """Opens the viewer of a sample by its card."""
    label = re.compile(rf"^{split}, sample {position}: ")
    page.locator("#sheet").get_by_role("button", name=label).click()
    page.wait_for_selector(".plane.xy canvas[aria-label]")


def voxels(out, split, array, position):
    """A sample [z, y, x]."""
    path = out / manifest(out)["splits"][split]["path"] / array
    return zarr.open_array(path, mode="r")[position, 0]


def test_the_page_shows_samples_facts_and_every_plane_of_a_window(vnc, opened):
    page = opened(vnc)
    captions = page.evaluate(CAPTIONS)
    rows = samples_of(vnc)
    assert len(captions) == len(rows) == 30
    assert captions == [f"{columns['annotation_id']} {split} {i}" for split, i, columns in rows]
    for split, position in (("train", 7), ("val", 2)):
        show(page, split, position)
        plain(page)
        (columns,) = (c for s, i, c in rows if (s, i) == (split, position))
        window = voxels(vnc, split, "img", position)
        point = columns["center_nm"] / columns["resolution_nm"] - columns["start_voxel"]
        x, y, z = (int(v) for v in point)
        assert [page.get_by_label(axis, exact=True).input_value() for axis in "xyz"] == [str(v) for v in (x, y, z)]
        for plane, expected in (("xy", window[z]), ("xz", window[:, y]), ("zy", window[:, :, x].T)):
            assert (pixels(page, plane) == expected[..., None]).all(), plane
        # The wheel over a plane, keys and sliders move through the window.
        page.locator(".plane.xy canvas").hover()
        page.mouse.wheel(0, 100)
        page.wait_for_selector(f".plane.xy canvas[aria-label$='= {z + 1}']")
        assert (pixels(page) == window[z + 1][..., None]).all()
        page.keyboard.press("ArrowUp")
        assert (pixels(page) == window[z][..., None]).all()
        page.get_by_label("z", exact=True).fill("0")
        assert (pixels(page) == window[0][..., None]).all()
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()


def test_overlays_have_the_voxels_of_their_arrays(vnc, opened):
    page = opened(vnc)
    show(page, "train", 4)
    plain(page)
    gray = pixels(page)
    z = int(page.get_by_label("z", exact=True).input_value())
    for array in ("label0", "label1"):
        overlay(page, array).check()
        tinted = (pixels(page) != gray).any(axis=2)
        expected = voxels(vnc, "train", array, 4)[z] != 0
        assert expected.any() and (tinted == expected).all()
        # At opacity 0 nothing is left of it; the key shows that it is there.
        page.get_by_label("opacity").fill("0")
        page.locator("#next").focus()
        assert (pixels(page) == gray).all()
        for _ in range(4):
            page.keyboard.press("]")
        assert ((pixels(page) != gray).any(axis=2) == expected).all()
        page.keyboard.press("o")
        assert (pixels(page) == gray).all()
        page.keyboard.press("o")
        overlay(page, array).uncheck()


def test_the_pointer_reads_values_and_the_table_has_the_columns(vnc, opened):
    page = opened(vnc)
    show(page, "val", 1)
    (columns,) = (c for s, i, c in samples_of(vnc) if (s, i) == ("val", 1))
    box = page.locator(".plane.xy canvas").bounding_box()
    z = int(page.get_by_label("z", exact=True).input_value())
    page.mouse.move(box["x"] + box["width"] * 5.5 / 32, box["y"] + box["height"] * 20.5 / 32)
    x, y, z_volume = (int(s) + v for s, v in zip(columns["start_voxel"], (5, 20, z)))
    read = [voxels(vnc, "val", array, 1)[z, 20, 5] for array in ("img", "label0", "label1")]
    expected = f"voxel {x}, {y}, {z_volume}: img {read[0]}; label0 {read[1]}; label1 {read[2]}"
    assert page.locator("#readout").text_content() == expected
    rows = dict(zip(page.locator("#sample-facts th").all_text_contents(), page.locator("#sample-facts td").all_text_contents()))
    assert rows["center_nm"] == ", ".join(f"{v:.16g}" for v in columns["center_nm"])
    assert np.isclose(float(rows["label0_nonzero_fraction"]), columns["label0_nonzero_fraction"])
    assert rows["box"] == manifest(vnc)["boxes"][columns["box"]]["id"]
    properties = {n for n in columns if n.startswith("property_")}
    assert properties <= set(rows)


def test_arrow_keys_go_through_the_samples_that_the_filter_shows(vnc, opened):
    page = opened(vnc)
    field(page, "split").select_option("val")
    show(page, "val", 0)
    page.locator("#next").focus()
    titles = []
    for _ in range(9):
        titles.append(page.locator("#viewer-title").text_content().split(":")[0])
        page.keyboard.press("ArrowRight")
    assert titles == [f"val, sample {i}" for i in range(9)]
    assert page.locator("#viewer-title").text_content().startswith("val, sample 0:")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#viewer-title").text_content().startswith("val, sample 8:")
    # The address names the sample, so that it can be sent to someone.
    assert page.url.endswith("#val/8")
    page.reload()
    page.wait_for_selector("dialog[open]")
    assert page.locator("#viewer-title").text_content().startswith("val, sample 8:")


@pytest.fixture(scope="module")
def dropped_dataset(tmp_path_factory):
    """Samples with a property, and annotations that were dropped."""
    folder = tmp_path_factory.mktemp("dropped")
    rng = np.random.default_rng(8)
    voxels = rng.integers(0, (48, 40, 24), (60, 3))
    ids = [2**64 - 1, *random.Random(8).sample(range(10**18), 59)]
    write_layer(folder, values_of("uint8"))
    config = dropped_job(folder, {i: (*map(int, v), n % 5) for n, (i, v) in enumerate(zip(ids, voxels))}, outside="drop")
    pointshard("preprocess", config, "--out", folder / "out")
    return folder / "out"


def shown(page):
    """Pairs (split, position) of the cards, in their order."""
    captions = page.evaluate(CAPTIONS)
    count = page.locator("#count").text_content()
    assert count.split(" of ")[0] == str(len(captions))
    return [(c.split(" ")[1], int(re.match(r"\d+", c.split(" ")[2])[0])) for c in captions]


def test_filters_and_sorting_agree_with_the_columns(dropped_dataset, opened):
    page = opened(dropped_dataset, "--samples", "100")
    rows = samples_of(dropped_dataset)
    everything = [(s, i) for s, i, _ in rows]
    assert shown(page) == everything

    def expect(wanted):
        assert wanted and wanted != everything
        assert shown(page) == wanted
        page.get_by_role("button", name="show all").click()
        assert shown(page) == everything

    field(page, "split").select_option("val")
    expect([(s, i) for s, i, _ in rows if s == "val"])
    field(page, "box").select_option(label="left")
    expect([(s, i) for s, i, _ in rows if s == "train"])
    field(page, "id").fill("18446744073709551615")
    expect([(s, i) for s, i, c in rows if c["annotation_id"] == 2**64 - 1])
    field(page, "column").select_option("property_kind")
    field(page, "from").fill("2")
    field(page, "to").fill("3")
    expect([(s, i) for s, i, c in rows if 2 <= c["property_kind"] <= 3])
    field(page, "sort by").select_option("-a_nonzero_fraction")
    order = sorted(rows, key=lambda row: -row[2]["a_nonzero_fraction"])
    expect([(s, i) for s, i, _ in order])
    field(page, "sort by").select_option("id")
    expect([(s, i) for s, i, _ in sorted(rows, key=lambda row: int(row[2]["annotation_id"]))])


def test_padding_is_a_filter(vnc_job, tmp_path, opened):
    job = write_job(tmp_path, {})
    write_image(tmp_path / "layer", np.random.default_rng(1).integers(1, 200, SIZE).astype("uint8"))
    pointshard("preprocess", job, "--out", tmp_path / "out")
    page = opened(tmp_path / "out")
    rows = samples_of(tmp_path / "out")
    field(page, "padding").select_option("padded")
    padded = [(s, i) for s, i, c in rows if c["a_inside_fraction"] < 1]
    assert len(padded) == 2 and shown(page) == padded
    field(page, "padding").select_option("inside")
    assert shown(page) == [(s, i) for s, i, c in rows if c["a_inside_fraction"] == 1]


def write_image(folder, values):
    write_precomputed(folder, values, RESOLUTION, (0, 0, 0), (16, 16, 8))


def test_the_map_and_the_tables_have_every_box_and_point(dropped_dataset, opened):
    page = opened(dropped_dataset)
    about = manifest(dropped_dataset)
    boxes = [b for b in about["boxes"] if b["split"]]
    (rows, _) = table(dropped_dataset)
    for view in range(2):
        svg = page.locator(".map svg").nth(view)
        assert svg.locator("rect.box").count() == len(boxes) == 2
        assert svg.locator("circle").count() == sum(b["samples"] for b in boxes)
        assert svg.locator("path.dropped").count() == len(rows) > 0
    # A point is inside its box, in both views.
    for axis, (view, attribute) in {0: (0, "cx"), 1: (0, "cy"), 2: (1, "cy")}.items():
        svg = page.locator(".map svg").nth(view)
        side = {"cx": ("x", "width"), "cy": ("y", "height")}[attribute]
        ranges = svg.locator("rect.box").evaluate_all(f"all => all.map(r => [+r.getAttribute('{side[0]}'), +r.getAttribute('{side[1]}')])")
        centers = svg.locator("circle").evaluate_all(f"all => all.map(c => +c.getAttribute('{attribute}'))")
        low, size = min(r[0] for r in ranges), max(r[0] + r[1] for r in ranges)
        assert all(low <= c <= size for c in centers)
        nm = [c["center_nm"][axis] for _, _, c in samples_of(dropped_dataset)]
        assert np.corrcoef(nm, centers)[0, 1] > 0.999
    text = page.locator("section[aria-labelledby=boxes]").inner_text()
    for b in boxes:
        for reason, count in b["dropped"].items():
            assert f"dropped: {reason}" in text and str(count) in text
    # A click on a box filters the samples.
    page.locator(".map svg rect.box").first.click(position={"x": 3, "y": 3})
    assert {split for split, _ in shown(page)} == {boxes[0]["split"]}


def test_distributions_count_every_sample(dropped_dataset, opened):
    page = opened(dropped_dataset)
    charts = {c.locator("h3").text_content(): c for c in page.locator("section[aria-labelledby=distributions] .chart").all()}
    rows = samples_of(dropped_dataset)
    assert set(charts) == {"a_inside_fraction", "a_nonzero_fraction", "property_kind"}
    for name, chart in charts.items():
        counts = {}
        for title in chart.locator("title").all_text_contents():
            split, bin_, count = re.match(r"(\w+): (.*): (\d+) samples", title).groups()
            counts[split, bin_] = int(count)
        expected = {}
        for split, _, columns in rows:
            value = columns[name]
            if name == "property_kind":
                bin_ = str(value)
            else:
                low = min(int(value * 20), 19)
                bin_ = f"{low / 20:g} to {(low + 1) / 20:g}"
            expected[split, bin_] = expected.get((split, bin_), 0) + 1
        assert counts == expected, name


def typed_job(folder, axis_order="czyx", **arrays):
    """A job on layers of many types. Arrays are name: (values, config)."""
    layers = {}
    for name, (values, _) in arrays.items():
        write_image(folder / name, values)
        layers[name] = f"precomputed://./{name}"
    job = write_job(folder, {}, window=[12, 10, 6], axis_order=axis_order)
    config = json.loads(job.read_text())
    config["collection"]["boxes"]["layers"] = layers
    config["arrays"] = {name: {"layer": name, **array} for name, (_, array) in arrays.items()}
    job.write_text(json.dumps(config))
    pointshard("preprocess", job, "--out", folder / "out")
    return folder / "out"


@pytest.mark.parametrize("axis_order", ["czyx", "cxyz"])
@pytest.mark.parametrize("data_type", ["uint8", "int8", "uint16", "int32", "float32"])
def test_images_of_every_type_are_shown_in_their_range(tmp_path, opened, data_type, axis_order):
    low, high = {"uint8": (0, 256), "int8": (-128, 128), "uint16": (900, 1200), "int32": (-500, 500), "float32": (0, 1)}[data_type]
    values = (np.random.default_rng(3).random(SIZE) * (high - low) + low).astype(data_type)
    out = typed_job(tmp_path, axis_order, em=(values, {"role": "image"}))
    page = opened(out)
    show(page, "train", 2)
    plain(page)
    z = int(page.get_by_label("z", exact=True).input_value())
    window = zarr.open_array(out / "train.zarr/em", mode="r")[2, 0].astype(float)
    window = window.T if axis_order == "cxyz" else window
    about = manifest(out)["arrays"]["em"]["statistics"]["train"]
    if data_type == "uint8":
        first, last = 0, 255
    else:
        first = max(about["min"], about["mean"] - 5 * about["std"])
        last = min(about["max"], about["mean"] + 5 * about["std"])
    expected = np.clip((window[z] - first) / (last - first) * 255, 0, 255)
    assert np.abs(pixels(page)[..., 0] - expected).max() <= 1.01


def test_objects_have_exact_ids_and_a_color_each_and_a_mask_darkens(tmp_path, opened):
    rng = np.random.default_rng(5)
    em = rng.integers(100, 200, SIZE).astype("uint8")
    ids = np.array([0, 2**64 - 1, 2**63 + 1, 17], "uint64")
    cells = ids[rng.integers(0, 4, [-(-n // 4) for n in SIZE])].repeat(4, 0).repeat(4, 1).repeat(4, 2)[: SIZE[0], : SIZE[1], : SIZE[2]]
    valid = (rng.random(SIZE) < 0.8).astype("uint8")
    small = [8, 6, 4]
    out = typed_job(
        tmp_path,
        em=(em, {"role": "image"}),
        cells=(np.asarray(cells), {"role": "target"}),
        cells_mask=(valid, {"role": "mask", "window": small}),
    )
    page = opened(out)
    show(page, "train", 2)
    plain(page)
    z = int(page.get_by_label("z", exact=True).input_value())
    gray = pixels(page).astype(int)
    overlay(page, re.compile("cells$")).check()
    page.get_by_label("opacity").fill("100")
    colored = pixels(page)
    window = voxels(out, "train", "cells", 2)[z]
    assert (colored[window == 0] == gray[window == 0]).all()
    colors = [{tuple(c) for c in colored[window == i]} for i in ids[1:] if (window == i).any()]
    assert len(colors) > 1 and all(len(c) == 1 for c in colors) and len(set.union(*colors)) == len(colors)
    box = page.locator(".plane.xy canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 12, box["y"] + box["height"] * 2.5 / 10)
    assert f"cells {window[2, 3]}" in page.locator("#readout").text_content()
    # The mask has a smaller window: outside of it, nothing is excluded.
    overlay(page, re.compile("cells$")).uncheck()
    overlay(page, "cells_mask").check()
    group = zarr.open_group(out / "train.zarr", mode="r")
    x, y, first = (int(v) for v in group["cells_mask_start_voxel"][2] - group["start_voxel"][2])
    mask = np.ones((10, 12), bool)
    mask[y : y + 6, x : x + 8] = voxels(out, "train", "cells_mask", 2)[z - first] != 0
    assert ((pixels(page).astype(int) < gray).all(axis=2) == ~mask).all()


def test_a_large_window_is_shown_with_a_step(tmp_path, opened):
    values = np.random.default_rng(2).integers(0, 256, (320, 300, 24)).astype("uint8")
    write_image(tmp_path / "layer", values)
    job = write_job(tmp_path, {}, window=[300, 280, 20])
    pointshard("preprocess", job, "--out", tmp_path / "out")
    page = opened(tmp_path / "out", "--samples", "1")
    ((split, position),) = shown(page)
    show(page, split, position)
    plain(page)
    z = int(page.get_by_label("z", exact=True).input_value())
    assert (pixels(page)[..., 0] == voxels(tmp_path / "out", split, "a", position)[z, ::2, ::2]).all()


def test_findings_are_listed_and_filtered(vnc_copy, tmp_path, opened):
    _, out = vnc_copy
    shard = out / "train.zarr/img/c.1.0.0.0.0"
    offset, _ = inner_chunk(shard, 1)
    flip(shard, offset + 3)
    page = opened(out)
    # The damaged sample is shown as such; all others are there.
    field(page, "finding").select_option("decode")
    assert shown(page) == [("train", 4)]
    show(page, "train", 4)
    lines = page.locator("#sample-findings li").all_text_contents()
    assert any(line.startswith("error decode: ") for line in lines) and any(line.startswith("img: ") for line in lines)
    page.keyboard.press("Escape")
    field(page, "finding").select_option("none")
    assert len(shown(page)) == 29
    assert "decode" in page.locator("section[aria-labelledby=findings]").inner_text()
    # With a report, only samples that it names are shown.
    report = tmp_path / "report.json"
    report.write_text(pointshard("check", out, "--json", code=1).stdout)
    only = preview(out, tmp_path, "--findings", report, name="only.html")
    with Tab(page.context.browser, only.as_uri()) as tab:
        named = {(f["split"], i) for f in json.loads(report.read_text())["findings"] for i in f["samples"]}
        assert set(shown(tab.page)) == named and ("train", 4) in named
    other = json.loads(report.read_text())
    other["findings"][0]["samples"] = [999]
    report.write_text(json.dumps(other))
    assert "is not a report about" in error_message("preview", out, "--findings", report)
    report.write_text("{}")
    assert "check --json" in error_message("preview", out, "--findings", report)


def test_ids_choose_samples_and_a_missing_one_is_an_error_with_its_reason(dropped_dataset, tmp_path, opened):
    rows = samples_of(dropped_dataset)
    chosen = rows[5::7]
    ids = ",".join(str(c["annotation_id"]) for _, _, c in chosen)
    assert shown(opened(dropped_dataset, "--ids", ids)) == [(s, i) for s, i, _ in chosen]
    (dropped, _) = table(dropped_dataset)
    box, annotation, reason = dropped[3]
    message = error_message("preview", dropped_dataset, "--ids", annotation)
    assert str(annotation) in message and f'"{box}"' in message and reason in message
    assert "outside of all boxes" in error_message("preview", dropped_dataset, "--ids", "12345")


def test_the_same_seed_gives_the_same_page_and_files_of_others_stay(vnc, tmp_path):
    arguments = ["--samples", "3"]
    first, again = (preview(vnc, tmp_path, *arguments, name=f"{n}.html").read_text() for n in range(2))
    other = preview(vnc, tmp_path, *arguments, "--seed", "1", name="2.html").read_text()
    assert first == again != other
    preview(vnc, tmp_path, *arguments, "--seed", "1", name="0.html")
    assert (tmp_path / "0.html").read_text() == other
    for name, text in (("mine.html", "<!DOCTYPE html><html>mine"), ("mine.png", "mine")):
        (tmp_path / name).write_text(text)
        option = "--html" if name.endswith("html") else "--png"
        assert name in error_message("preview", vnc, option, tmp_path / name)
        assert (tmp_path / name).read_text() == text
    # A picture of another program, which is as good a PNG.
    figure, own = tmp_path / "figure.png", tmp_path / "own.png"
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "Matplotlib")
    for pnginfo in (text, None):
        Image.new("RGB", (8, 8)).save(figure, pnginfo=pnginfo)
        before = figure.read_bytes()
        assert "figure.png exists, and pointshard did not write it" in error_message("preview", vnc, "--png", figure, "--samples", "1")
        assert figure.read_bytes() == before
    for seed in (0, 1):
        pointshard("preview", vnc, "--png", own, "--samples", "3", "--seed", seed)
    pointshard("preview", vnc, "--png", tmp_path / "same.png", "--samples", "3", "--seed", 1)
    assert own.read_bytes() == (tmp_path / "same.png").read_bytes()
    assert "--samples" in error_message("preview", vnc, "--html", tmp_path / "a.html", "--memory", "1MB")
    assert "that the preview shows takes" in error_message("preview", vnc, "--html", tmp_path / "a.html", "--samples", "1", "--memory", "40MB")
    pointshard("preview", vnc, "--html", tmp_path / "no/such/folder/a.html", code=2)


def test_text_from_outside_is_no_html(tmp_path, opened):
    evil = "</script><img src=x onerror=alert(1)><!--"
    write_image(tmp_path / "layer", np.ones(SIZE, "uint8"))
    job = write_job(tmp_path, {})
    config = json.loads(job.read_text())
    config["collection"]["boxes"]["list"][0]["id"] = evil
    job.write_text(json.dumps(config))
    pointshard("preprocess", job, "--out", tmp_path / "out")
    page = opened(tmp_path / "out")
    assert page.locator("img").count() == 0
    show(page, "train", 0)
    assert evil in page.locator("#sample-facts").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phones_keyboards_and_screen_readers(vnc, opened, scheme):
    page = opened(vnc, width=360, height=740, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Text is readable: its color differs from the page's.
    luminance = "e => getComputedStyle(e).%s.match(/[0-9.]+/g).slice(0, 3).reduce((sum, c) => sum + Number(c), 0) / 3"
    text, background = (page.locator("body").evaluate(luminance % name) for name in ("color", "backgroundColor"))
    assert abs(text - background) > 150 and (background < 100) == (scheme == "dark")
    # Every control has a name, and a card can be opened without a pointer.
    names = page.evaluate(
        "[...document.querySelectorAll('input, select, button, dialog, canvas[role=img], svg[role=img]')].filter(e => "
        "!(e.ariaLabel || e.labels?.length || e.textContent.trim() || e.getAttribute('aria-labelledby') || e.closest('dialog:not([open])'))).length"
    )
    assert names == 0
    page.locator("#sheet button").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.wait_for_selector(".plane.xy canvas[aria-label]")
    assert page.locator("dialog").evaluate("d => d.scrollWidth <= d.clientWidth")
    assert "z = " in page.locator(".plane.xy canvas").get_attribute("aria-label")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_a_dataset_without_samples_in_a_split(tmp_path, opened):
    write_image(tmp_path / "layer", np.ones(SIZE, "uint8"))
    job = write_job(tmp_path, {})
    config = json.loads(job.read_text())
    config["collection"]["boxes"]["list"].append({"id": "empty", "min": [0, 0, 0], "max": [1, 1, 1], "tags": ["val"]})
    config["splits"]["val"] = ["val"]
    job.write_text(json.dumps(config))
    pointshard("preprocess", job, "--out", tmp_path / "out")
    page = opened(tmp_path / "out")
    assert len(shown(page)) == 5


@pytest.mark.parametrize("channels", [2, 3])
def test_three_channels_are_a_color_and_others_are_shown_one_by_one(tmp_path, opened, channels):
    values = np.random.default_rng(7).integers(0, 256, (*SIZE, channels), dtype=np.uint8)
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path}/layer/"},
        "multiscale_metadata": {"data_type": "uint8", "num_channels": channels, "type": "image"},
        "scale_metadata": {"size": list(SIZE), "resolution": RESOLUTION, "chunk_size": [16, 16, 8], "encoding": "raw"},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result().write(values).result()
    pointshard("preprocess", write_job(tmp_path, {"role": "image"}), "--out", tmp_path / "out")
    page = opened(tmp_path / "out")
    show(page, "train", 2)
    plain(page)
    z = int(page.get_by_label("z", exact=True).input_value())
    window = zarr.open_array(tmp_path / "out/train.zarr/a", mode="r")[2, :, z]
    if channels == 3:
        assert (pixels(page) == np.moveaxis(window, 0, -1)).all()
    else:
        for channel in (1, 0):
            page.get_by_label("channel", exact=True).fill(str(channel))
            assert (pixels(page) == window[channel][..., None]).all()


def test_labels_of_a_property_are_shown_and_filtered(tmp_path, opened):
    write_image(tmp_path / "layer", np.random.default_rng(1).integers(1, 200, SIZE).astype("uint8"))
    points = [{"type": "point", "id": str(i), "point": [10 + i, 20, 10], "props": [i % 3]} for i in range(9)]
    kind = {"id": "kind", "type": "uint8", "enum_values": [2, 0, 1], "enum_labels": ["odd", "small", "large"]}
    state = {"dimensions": {a: [r * 1e-9, "m"] for a, r in zip("xyz", RESOLUTION)}, "layers": [
        {"type": "annotation", "name": "n", "source": "local://annotations", "annotations": points, "annotationProperties": [kind]}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    job = write_job(tmp_path, {}, points={"neuroglancer_state": {"source": "state.json"}})
    pointshard("preprocess", job, "--out", tmp_path / "out")
    page = opened(tmp_path / "out")
    rows = samples_of(tmp_path / "out")
    field(page, "column").select_option("property_kind")
    field(page, "value").select_option("large")
    assert shown(page) == [(s, i) for s, i, c in rows if c["property_kind"] == 1] and len(shown(page)) == 3
    show(page, *shown(page)[0])
    assert "large" in page.locator("#sample-facts").text_content()


def test_a_page_without_samples_has_everything_else(vnc, opened):
    page = opened(vnc, "--samples", "0")
    assert shown(page) == [] and page.locator("rect.box").count() > 0


def test_targets_are_seen_above_a_segmentation(shared, tmp_path):
    """In whatever order the arrays are."""
    target = {"target": {"layer": "label0", "role": "target"}}
    pictures = {}
    for name, arrays in {"below": {**target, "cells": {"layer": "seg"}}, "above": {"cells": {"layer": "seg"}, **target}, "none": {"cells": {"layer": "seg"}}}.items():
        (tmp_path / name).mkdir()
        config = vnc_config(tmp_path / name, arrays={"img": {"layer": "img", "role": "image"}, **arrays}, window=[32, 32, 8])
        pointshard("preprocess", config, "--out", tmp_path / name / "out")
        pointshard("preview", tmp_path / name / "out", "--png", tmp_path / f"{name}.png", "--samples", "6")
        pictures[name] = np.array(Image.open(tmp_path / f"{name}.png")).astype(int)
    # The last colour that is blended has the largest part. It depends on the order of the arrays which colour it is.
    for name in ("below", "above"):
        assert (np.abs(pictures[name] - pictures["none"]).max(axis=2) > 60).mean() > 0.03, name


def test_the_picture_has_the_section_of_each_point(vnc, tmp_path):
    picture = tmp_path / "samples.png"
    printed = pointshard("preview", vnc, "--png", picture, "--samples", "6").stdout
    assert str(picture) in printed and not (tmp_path / "preview.html").exists()
    pixels = np.array(Image.open(io.BytesIO(picture.read_bytes())))
    page = preview(vnc, tmp_path, "--samples", "6").read_text()
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page)[1])
    low, high = data["arrays"][0]["contrast"]
    rows = {(s, i): c for s, i, c in samples_of(vnc)}
    scale, gap, margin, caption = 5, 2, 12, 18
    tile = 32 * scale
    assert len(data["samples"]) == 12
    for number, sample in enumerate(data["samples"]):
        columns = rows[sample["split"], sample["position"]]
        z = int(columns["center_nm"][2] / columns["resolution_nm"][2] - columns["start_voxel"][2])
        left = margin + number % 4 * (2 * tile + gap + margin)
        top = margin + number // 4 * (tile + caption + margin)
        corner = slice(top, top + tile, scale), slice(left, left + tile, scale)
        window = voxels(vnc, sample["split"], "img", sample["position"])[z] / 255
        expected = np.clip((window - low) / (high - low), 0, 1) * 255
        # The cross of the point covers some voxels.
        same = np.abs(pixels[corner][..., 0] - expected) <= 1
        assert same.mean() > 0.97
        beside = slice(left + tile + gap, left + 2 * tile + gap, scale)
        # No cross here: without targets, both are the same.
        tinted = (np.abs(pixels[corner[0], beside] - expected[..., None]) > 1).any(axis=2)
        targets = [voxels(vnc, sample["split"], array, sample["position"])[z] != 0 for array in ("label0", "label1")]
        assert (tinted <= (targets[0] | targets[1])).all() and tinted.any()


def test_the_picture_of_the_readme_is_that_of_the_demo(demo, tmp_path):
    folder, _ = demo
    pointshard("preview", folder / "dataset", "--samples", "4", "--seed", "2", "--png", tmp_path / "demo.png")
    committed = REPOSITORY / "docs/images/demo-windows.png"
    found, expected = (np.array(Image.open(p)) for p in (tmp_path / "demo.png", committed))
    assert found.shape == expected.shape and (found == expected).all()


def test_a_dataset_in_a_bucket_gives_the_same_samples(two_channel_shards, buckets, tmp_path):
    def data(dataset, name):
        pointshard("preview", dataset, "--html", tmp_path / name, "--samples", "3", env=buckets)
        text = (tmp_path / name).read_text()
        return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])

    local, remote = data(two_channel_shards, "local.html"), data("s3://windows/shards", "remote.html")
    for sample in remote["samples"]:
        # A browser finds the dataset, but not its sources, which are local.
        link = json.loads(urllib.parse.unquote(sample["link"].split("#!")[1]))
        (first, *_) = link["layers"]
        assert first["source"]["url"].startswith(f"zarr3://s3://windows/shards/{sample['split']}.zarr/")
        sample["link"] = None
    assert local == remote and len(local["samples"]) == 6
