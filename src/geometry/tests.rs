//! Points, boxes, windows and rounding.

use super::rounding::{ceil_of_rounded, floor_of_rounded};
use super::*;
use proptest::prelude::*;

fn start_x(p: f64, r: f64, w: u32) -> i64 {
    WindowSize::new([w, 1, 1])
        .unwrap()
        .start_around(
            &PointNm([p, 0.5, 0.5]),
            &Resolution::new([r, 1.0, 1.0]).unwrap(),
            WindowRule::Ceil,
        )
        .unwrap()[0]
}

#[test]
fn a_point_on_a_voxel_corner_starts_half_a_window_before_it() {
    assert_eq!(start_x(800.0, 8.0, 64), 100 - 32);
    assert_eq!(start_x(800.0, 8.0, 5), 98); // ceil(97.5)
}

#[test]
fn float_noise_below_ten_decimals_does_not_move_a_window() {
    // 3080 * 4.6 / 4.6 is 3080.0000000000005
    assert_eq!(start_x(14168.0, 4.6, 32), 3064);
    assert_eq!(start_x(100.0 + 4e-11, 1.0, 2), 99);
    assert_eq!(start_x(100.0 + 6e-11, 1.0, 2), 100);
}

#[test]
fn negative_coordinates_round_towards_plus_infinity() {
    assert_eq!(start_x(-2.5, 1.0, 2), -3);
    assert_eq!(start_x(-2.0, 1.0, 2), -3);
}

#[test]
fn a_point_far_out_of_range_has_no_window() {
    let w = WindowSize::new([2, 2, 2]).unwrap();
    let r = Resolution::new([1.0; 3]).unwrap();
    assert_eq!(
        w.start_around(&PointNm([1e300, 0.0, 0.0]), &r, WindowRule::Ceil),
        None
    );
    assert_eq!(
        w.start_around(&PointNm([f64::NAN, 0.0, 0.0]), &r, WindowRule::Floor),
        None
    );
}

#[test]
fn a_box_contains_its_lower_face_but_not_its_upper_face() {
    let b = BoxNm::from_corners(PointNm([10.0, 0.0, 0.0]), PointNm([0.0, 10.0, 10.0])).unwrap();
    assert!(b.contains(&PointNm([0.0, 0.0, 0.0])));
    assert!(!b.contains(&PointNm([10.0, 0.0, 0.0])));
    assert_eq!((b.min(), b.max()), ([0.0; 3], [10.0; 3]));
}

#[test]
fn covering_voxels_leave_out_those_that_only_touch_the_box() {
    let r = |nm| Resolution::new([nm; 3]).unwrap();
    let window = VoxelBox {
        start: [2999, 3000, -3],
        end: [3001, 3002, 0],
    };
    let covering = window.nm(&r(4.6)).covering_voxels(&r(9.2));
    assert_eq!(
        (covering.start, covering.end),
        ([1499, 1500, -2], [1501, 1501, 0])
    );
    let same = window.nm(&r(4.6)).covering_voxels(&r(4.6));
    assert_eq!((same.start, same.end), (window.start, window.end));
}

#[test]
fn lengths_are_read_as_the_written_decimal() {
    assert_eq!(length_nm(4.6e-09, "m"), Some(4.6));
    assert_eq!(length_nm(2.9999999999999997e-05, "m"), Some(30000.0));
    assert_eq!(length_nm(4.5e-08, "m"), Some(45.0));
    assert_eq!(length_nm(0.0046, "um"), Some(4.6));
    assert_eq!(length_nm(1.0, "s"), None);
    assert_eq!(length_nm(1.0, ""), None);
}

#[test]
fn resolutions_match_up_to_float32_rounding() {
    let r = |x| Resolution::new([x, 4.6, 45.0]).unwrap();
    assert!(r(4.6).matches(&r(4.599999904632568)));
    assert!(!r(4.6).matches(&r(4.61)));
    assert!(Resolution::new([0.0, 1.0, 1.0]).is_none());
    assert!(Resolution::new([f64::INFINITY, 1.0, 1.0]).is_none());
}

proptest! {
    #[test]
    fn the_fast_path_agrees_with_decimal_rounding(v in -1e7f64..1e7) {
        let exact: f64 = format!("{v:.10}").parse().unwrap();
        prop_assert_eq!(ceil_of_rounded(v), Some(exact.ceil() as i64));
    }

    #[test]
    fn the_fast_path_agrees_next_to_whole_numbers(i in -1_000_000i64..1_000_000, e in -3e-9f64..3e-9) {
        let v = i as f64 + e;
        let exact: f64 = format!("{v:.10}").parse().unwrap();
        prop_assert_eq!(ceil_of_rounded(v), Some(exact.ceil() as i64));
        prop_assert_eq!(floor_of_rounded(v), Some(exact.floor() as i64));
    }

    #[test]
    fn a_window_is_centered_to_within_a_voxel(
        p in prop::array::uniform3(-1e6f64..1e6),
        r in prop::array::uniform3(0.5f64..100.0),
        w in prop::array::uniform3(1u32..300),
        rule in prop_oneof![Just(WindowRule::Ceil), Just(WindowRule::Floor)],
    ) {
        let window = WindowSize::new(w).unwrap();
        let cut = window.at(window.start_around(&PointNm(p), &Resolution::new(r).unwrap(), rule).unwrap());
        prop_assert_eq!(cut.shape(), w.map(u64::from));
        for d in 0..3 {
            let late = cut.start[d] as f64 - (p[d] / r[d] - f64::from(w[d]) / 2.0);
            let late = if rule == WindowRule::Ceil { late } else { -late };
            prop_assert!((-1e-9..1.0).contains(&late), "axis {} is {} voxels late", d, late);
        }
    }

    #[test]
    fn an_intersection_is_the_set_of_common_voxels(
        a in prop::array::uniform3(-4i64..4), b in prop::array::uniform3(-4i64..4),
        sa in prop::array::uniform3(1i64..4), sb in prop::array::uniform3(1i64..4),
        v in prop::array::uniform3(-5i64..9),
    ) {
        let make = |s: [i64; 3], n: [i64; 3]| VoxelBox { start: s, end: std::array::from_fn(|d| s[d] + n[d]) };
        let (a, b) = (make(a, sa), make(b, sb));
        let inside = |x: &VoxelBox| (0..3).all(|d| x.start[d] <= v[d] && v[d] < x.end[d]);
        let both = inside(&a) && inside(&b);
        prop_assert_eq!(a.intersection(&b).is_some_and(|i| inside(&i)), both);
    }
}
