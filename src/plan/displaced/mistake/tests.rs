use super::*;
use proptest::prelude::*;

const NM: [f64; 3] = [4.0, 4.0, 40.0];

fn resolution(nm: [f64; 3]) -> Resolution {
    Resolution::new(nm).unwrap()
}

fn a_box(min: [f64; 3], max: [f64; 3]) -> BoxNm {
    BoxNm::from_corners(PointNm(min), PointNm(max)).unwrap()
}

/// Window centres spread over the layer, which is far from 0 and differs along all axes.
fn centres() -> Vec<[f64; 3]> {
    let mut all = Vec::new();
    for i in 0..20 {
        let part = |k: usize| 0.06 + 0.9 * ((i * k) % 20) as f64 / 20.0;
        all.push([
            90_000.0 + 60_000.0 * part(1),
            240_000.0 + 40_000.0 * part(7),
            20_000.0 + 16_000.0 * part(9),
        ]);
    }
    all
}

fn layer_box() -> LayerBox {
    LayerBox {
        start: [22_500, 60_000, 500],
        size: [15_000, 10_000, 400],
        resolution: resolution(NM),
    }
}

fn windows(moved: impl Fn([f64; 3]) -> [f64; 3]) -> Vec<CenteredWindow> {
    // Windows start at whole voxels.
    let around = |p: [f64; 3]| {
        let corner = |d: usize, voxels: f64| ((p[d] / NM[d]).round() + voxels) * NM[d];
        CenteredWindow {
            center: PointNm(p),
            covers: a_box(
                std::array::from_fn(|d| corner(d, -8.0)),
                std::array::from_fn(|d| corner(d, 8.0)),
            ),
        }
    };
    centres().into_iter().map(|p| around(moved(p))).collect()
}

fn resolutions() -> Vec<Resolution> {
    vec![resolution(NM), resolution([8.0, 8.0, 40.0])]
}

fn mistake(moved: impl Fn([f64; 3]) -> [f64; 3]) -> Option<Mistake> {
    of_windows(&windows(moved), &layer_box(), &resolutions(), true)
}

#[test]
fn windows_at_the_right_positions_fit() {
    let windows: Vec<_> = windows(|p| p).iter().map(|w| w.covers).collect();
    assert!(fit(&windows, &layer_box().nm().unwrap()).is_some());
}

#[test]
fn a_wrong_unit_is_recognised_by_a_power_of_1000() {
    for factor in UNITS {
        let found = mistake(|p| p.map(|v| v / factor));
        assert!(
            matches!(found, Some(Mistake::Unit(f)) if (f / factor - 1.0).abs() < 1e-9),
            "{factor}: {found:?}"
        );
    }
}

#[test]
fn voxels_read_as_nm_are_recognised_by_the_resolution() {
    let per_axis =
        |by: fn(f64, f64) -> f64| move |p: [f64; 3]| std::array::from_fn(|d| by(p[d], NM[d]));
    assert_eq!(
        mistake(per_axis(|v, r| v / r)),
        Some(Mistake::VoxelsAsNm(resolution(NM)))
    );
    assert_eq!(
        mistake(per_axis(|v, r| v * r)),
        Some(Mistake::NmAsVoxels(resolution(NM)))
    );
    let half = resolution([8.0, 8.0, 40.0]);
    // Voxels of 8 nm that were read as voxels of 4 nm.
    assert_eq!(
        mistake(|[x, y, z]| [x / 2.0, y / 2.0, z]),
        Some(Mistake::OtherScale(resolution(NM), half))
    );
    assert_eq!(
        mistake(|[x, y, z]| [x * 2.0, y * 2.0, z]),
        Some(Mistake::OtherScale(half, resolution(NM)))
    );
}

#[test]
fn wrong_axes_are_recognised_in_nm_and_in_voxels() {
    assert_eq!(
        mistake(|[x, y, z]| [z, y, x]),
        Some(Mistake::Axes(REVERSED))
    );
    assert_eq!(
        mistake(|[x, y, z]| [y, x, z]),
        Some(Mistake::Axes([1, 0, 2]))
    );
    // Written z, x, y: x is second, y is third, z is first.
    assert_eq!(
        mistake(|[x, y, z]| [z, x, y]),
        Some(Mistake::Axes([1, 2, 0]))
    );
    // Voxels z, y, x that were multiplied by the size of voxels x, y, z.
    assert_eq!(
        mistake(|[x, y, z]| [z / 40.0 * 4.0, y, x / 4.0 * 40.0]),
        Some(Mistake::Axes(REVERSED))
    );
    assert_eq!(
        mistake(|[x, y, z]| [z / 40.0, y / 4.0, x / 4.0]),
        Some(Mistake::AxesOfVoxels(REVERSED, resolution(NM)))
    );
}

#[test]
fn an_offset_that_is_missing_or_only_in_the_layer_is_recognised() {
    let at_0 = LayerBox {
        start: [0; 3],
        ..layer_box()
    };
    let found = of_windows(&windows(|p| p), &at_0, &resolutions(), true);
    assert_eq!(found, Some(Mistake::OffsetMissing));
    assert_eq!(
        mistake(|[x, y, z]| [x - 90_000.0, y - 240_000.0, z - 20_000.0]),
        Some(Mistake::OffsetOfLayerOnly)
    );
    // The offset cannot be the cause if the layer is too small for the windows.
    let small = LayerBox {
        size: [10_000, 10_000, 400],
        ..at_0
    };
    let own = [resolution(NM)];
    assert_eq!(of_windows(&windows(|p| p), &small, &own, true), None);
}

#[test]
fn a_wrong_offset_is_recognised_if_other_layers_contain_the_windows() {
    let start = layer_box().start.map(|v| v as f64);
    let of = |by: &dyn Fn(usize) -> f64| {
        let place = LayerBox {
            start: std::array::from_fn(|d| by(d).round() as i64),
            ..layer_box()
        };
        of_windows(&windows(|p| p), &place, &resolutions(), false)
    };
    assert_eq!(of(&|d| start[d] * NM[d]), Some(Mistake::OffsetInNm));
    assert_eq!(of(&|d| start[d] / NM[d]), Some(Mistake::OffsetInVoxels));
    assert_eq!(of(&|d| start[d] * 1e3), Some(Mistake::OffsetUnit(1e-3)));
    assert_eq!(of(&|d| start[2 - d]), Some(Mistake::OffsetAxes(REVERSED)));
    let half = resolution([8.0, 8.0, 40.0]);
    assert_eq!(
        of(&|d| if d < 2 { start[d] / 2.0 } else { start[d] }),
        Some(Mistake::OffsetOfScale(half))
    );
    let reordered = LayerBox {
        start: [500, 60_000, 22_500],
        size: [400, 10_000, 15_000],
        ..layer_box()
    };
    let found = of_windows(&windows(|p| p), &reordered, &resolutions(), false);
    assert_eq!(found, Some(Mistake::LayerAxes(REVERSED)));
}

#[test]
fn positions_are_not_suspected_if_other_layers_contain_the_windows() {
    let um = windows(|p| p.map(|v| v / 1e3));
    assert_eq!(of_windows(&um, &layer_box(), &resolutions(), false), None);
}

#[test]
fn positions_that_end_in_the_corner_of_a_layer_support_no_mistake() {
    // Any position ends near 0 if it is divided by enough.
    let place = LayerBox {
        start: [0; 3],
        size: [15_000_000, 10_000_000, 4_000_000],
        resolution: resolution(NM),
    };
    let far = windows(|[x, y, z]| [x * 700.0, y * 2500.0, z * 1100.0]);
    assert_eq!(of_windows(&far, &place, &resolutions(), true), None);
    // A random position supports no mistake either.
    let elsewhere = windows(|[x, y, z]| [x + 1e6, y - 5e6, z + 3e5]);
    assert_eq!(
        of_windows(&elsewhere, &layer_box(), &resolutions(), true),
        None
    );
}

#[test]
fn positions_that_collapse_to_nearly_one_point_support_no_mistake() {
    // Divided by 1,000 they are in the middle of a small layer that starts at 0.
    let place = LayerBox {
        start: [0; 3],
        size: [100, 100, 40],
        resolution: resolution(NM),
    };
    let far = |[x, y, z]: [f64; 3]| {
        let apart = [x - 90_000.0, y - 240_000.0, z - 20_000.0];
        let scaled = [apart[0] / 400.0, apart[1] / 300.0, apart[2] / 40.0];
        scaled.map(|v| v + 100_000.0)
    };
    let found = of_windows(&windows(far), &place, &resolutions(), true);
    assert_eq!(found, Some(Mistake::OffsetMissing));
    // Only the centres must fit: here the windows are wider than the layer.
    let small = LayerBox {
        size: [36, 36, 12],
        ..place
    };
    let found = of_windows(&windows(far), &small, &resolutions(), true);
    assert_eq!(found, Some(Mistake::OffsetMissing));
    let boxes = [place.nm().unwrap()];
    let extent = a_box([100_000.0; 3], [100_150.0, 100_130.0, 100_400.0]);
    assert_eq!(of_annotations(&extent, &boxes, &resolutions()), None);
}

#[test]
fn mistakes_in_annotations_are_recognised_by_the_boxes() {
    let place = layer_box().nm().unwrap();
    let boxes = [
        a_box(
            [92_000.0, 242_000.0, 21_000.0],
            [110_000.0, 260_000.0, 30_000.0],
        ),
        a_box(
            [120_000.0, 250_000.0, 22_000.0],
            [140_000.0, 275_000.0, 34_000.0],
        ),
    ];
    let found = |by: fn([f64; 3]) -> [f64; 3]| {
        let extent = a_box(by(place.min()), by(place.max()));
        of_annotations(&extent, &boxes, &resolutions())
    };
    assert_eq!(found(|p| p.map(|v| v / 1e3)), Some(Mistake::Unit(1e3)));
    assert_eq!(found(|[x, y, z]| [z, y, x]), Some(Mistake::Axes(REVERSED)));
    assert_eq!(
        found(|p| std::array::from_fn(|d| p[d] / NM[d])),
        Some(Mistake::VoxelsAsNm(resolution(NM)))
    );
    // If the annotations could be in the boxes, there is no mistake.
    assert_eq!(found(|p| p), None);
    assert_eq!(found(|p| p.map(|v| v + 1e7)), None);
}

proptest! {
    #[test]
    fn extreme_numbers_do_not_panic(
        start in prop::array::uniform3(-(1i64 << 52)..1i64 << 52),
        size in prop::array::uniform3(1u64..1 << 52),
        p in prop::array::uniform3(-1e300f64..1e300),
    ) {
        let place = LayerBox { start, size, resolution: resolution([1e300, 4.0, 1e-300]) };
        let resolutions = [resolution([1e300, 1.0, 1e-300]), resolution([1e-300, 1.0, 1e300])];
        let one = [CenteredWindow { center: PointNm(p), covers: a_box(p, p) }];
        let _ = of_windows(&one, &place, &resolutions, true);
        let _ = of_annotations(&one[0].covers, &[one[0].covers], &resolutions);
    }
}
