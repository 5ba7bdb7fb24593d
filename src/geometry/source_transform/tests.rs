use super::*;

fn space(dimensions: &[(&str, f64, &str)]) -> Option<Dimensions> {
    let named = dimensions.iter();
    let named = named.map(|(name, scale, unit)| ((*name).to_owned(), (*scale, (*unit).to_owned())));
    Some(named.collect())
}

fn nm(x: f64, y: f64, z: f64) -> Option<Dimensions> {
    space(&[("x", x, "nm"), ("y", y, "nm"), ("z", z, "nm")])
}

fn rows(rows: &[&[f64]]) -> Option<Vec<Vec<f64>>> {
    Some(rows.iter().map(|row| row.to_vec()).collect())
}

fn source(dimensions: &[(&str, f64)]) -> Vec<SourceDimension> {
    let dimension = |(name, nm): &(&str, f64)| SourceDimension {
        name: (*name).to_owned(),
        unit_nm: (*nm > 0.0).then_some(*nm),
    };
    dimensions.iter().map(dimension).collect()
}

fn origin() -> TransformOrigin {
    TransformOrigin {
        document: "state.json".to_owned(),
        layer: "img".to_owned(),
        path: "layers[0].source.transform".to_owned(),
    }
}

fn placed(
    input: Option<Dimensions>,
    output: Option<Dimensions>,
    matrix: Option<Vec<Vec<f64>>>,
    source: &[SourceDimension],
) -> Result<[(usize, f64, f64); 3], String> {
    let transform = SourceTransform::new(origin(), input, output, matrix, None);
    let transform = transform.map_err(|e| e.to_string())?.unwrap();
    let placed = transform.place(source).map_err(|e| e.to_string())?;
    Ok(placed.map(|axis| (axis.dimension, axis.unit_nm, axis.offset_nm)))
}

#[test]
fn the_input_is_the_size_of_a_source_voxel_and_the_output_moves_nothing() {
    let own = source(&[("x", 4.0), ("y", 4.0), ("z", 40.0)]);
    let at = |unit: [f64; 3]| [(0, unit[0], 0.0), (1, unit[1], 0.0), (2, unit[2], 0.0)];
    let unmoved = at([4.0, 4.0, 40.0]);
    assert_eq!(
        placed(None, nm(8.0, 8.0, 40.0), None, &own).unwrap(),
        unmoved
    );
    assert_eq!(
        placed(nm(4.0, 4.0, 40.0), nm(8.0, 8.0, 8.0), None, &own).unwrap(),
        unmoved
    );
    let twice = at([8.0, 8.0, 40.0]);
    assert_eq!(
        placed(nm(8.0, 8.0, 40.0), nm(4.0, 4.0, 40.0), None, &own).unwrap(),
        twice
    );
    assert_eq!(
        placed(nm(8.0, 8.0, 40.0), nm(8.0, 8.0, 40.0), None, &own).unwrap(),
        twice
    );
    assert_eq!(placed(nm(8.0, 8.0, 40.0), None, None, &own).unwrap(), twice);
    let um = space(&[("x", 0.008, "um"), ("y", 8e-9, "m"), ("z", 4e-5, "mm")]);
    assert_eq!(placed(um, nm(1.0, 1.0, 1.0), None, &own).unwrap(), twice);
}

#[test]
fn a_matrix_maps_lengths_and_translates_in_units_of_the_output() {
    let own = source(&[("x", 4.0), ("y", 4.0), ("z", 40.0)]);
    let matrix = rows(&[
        &[2.0, 0.0, 0.0, 10.0],
        &[0.0, 0.5, 0.0, 0.0],
        &[0.0, 0.0, 1.0, -3.0],
    ]);
    let found = placed(None, nm(5.0, 5.0, 50.0), matrix.clone(), &own).unwrap();
    assert_eq!(found, [(0, 8.0, 50.0), (1, 2.0, 0.0), (2, 40.0, -150.0)]);
    let found = placed(nm(10.0, 10.0, 10.0), nm(5.0, 5.0, 50.0), matrix, &own).unwrap();
    assert_eq!(found, [(0, 20.0, 50.0), (1, 5.0, 0.0), (2, 10.0, -150.0)]);
}

#[test]
fn dimensions_are_matched_by_name_and_axes_by_the_names_of_the_output() {
    let zarr = source(&[("z", 40.0), ("y", 5.0), ("x", 4.0)]);
    // Without names of the input, the order is that of the array.
    let renamed = space(&[("x", 1.0, "nm"), ("y", 1.0, "nm"), ("z", 1.0, "nm")]);
    let found = placed(None, renamed.clone(), None, &zarr).unwrap();
    assert_eq!(found, [(0, 40.0, 0.0), (1, 5.0, 0.0), (2, 4.0, 0.0)]);
    // With names, in any order.
    let found = placed(nm(8.0, 9.0, 50.0), renamed.clone(), None, &zarr).unwrap();
    assert_eq!(found, [(2, 8.0, 0.0), (1, 9.0, 0.0), (0, 50.0, 0.0)]);
    // A row with another input.
    let matrix = rows(&[
        &[0.0, 0.0, 1.0, 7.0],
        &[0.0, 1.0, 0.0, 0.0],
        &[1.0, 0.0, 0.0, 0.0],
    ]);
    let found = placed(nm(8.0, 9.0, 50.0), renamed, matrix, &zarr).unwrap();
    assert_eq!(found, [(0, 50.0, 7.0), (1, 9.0, 0.0), (2, 8.0, 0.0)]);
    // An array without names has numbered dimensions.
    let unnamed = source(&[("d0", 0.0), ("d1", 0.0), ("d2", 0.0)]);
    let sizes = space(&[("d0", 40.0, "nm"), ("d1", 5.0, "nm"), ("d2", 4.0, "nm")]);
    let zyx = space(&[("z", 1.0, "nm"), ("y", 1.0, "nm"), ("x", 1.0, "nm")]);
    let found = placed(sizes, zyx.clone(), None, &unnamed).unwrap();
    assert_eq!(found, [(2, 4.0, 0.0), (1, 5.0, 0.0), (0, 40.0, 0.0)]);
    let e = placed(None, zyx, None, &unnamed).unwrap_err();
    assert!(
        e.contains("inputDimensions") && e.contains("does not define the size of"),
        "{e}"
    );
}

#[test]
fn unknown_names_are_an_error_unless_the_transform_moves_nothing() {
    let own = source(&[("x", 4.0), ("y", 4.0), ("z", 40.0)]);
    let numbered = |x: f64| space(&[("0", x, "nm"), ("1", 4.0, "nm"), ("2", 40.0, "nm")]);
    assert!(placed(numbered(4.0), nm(4.0, 4.0, 40.0), None, &own).is_ok());
    let e = placed(numbered(8.0), nm(4.0, 4.0, 40.0), None, &own).unwrap_err();
    for words in [
        "state.json",
        "layers[0].source.transform.inputDimensions`",
        "`0`, `1`, `2`",
        "`x`, `y`, `z`",
        "`img`",
    ] {
        assert!(e.contains(words), "{e}");
    }
}

#[test]
fn further_dimensions_stay_the_same() {
    let own = source(&[("x", 4.0), ("y", 4.0), ("z", 40.0), ("c^", 0.0)]);
    let twice = [(0, 8.0, 0.0), (1, 8.0, 0.0), (2, 40.0, 0.0)];
    // The channel left out, written, and a further dimension that is not the source's.
    assert_eq!(
        placed(nm(8.0, 8.0, 40.0), nm(4.0, 4.0, 40.0), None, &own).unwrap(),
        twice
    );
    let with = |name: &str, x: f64| {
        space(&[
            ("x", x, "nm"),
            ("y", x, "nm"),
            ("z", 40.0, "nm"),
            (name, 1.0, ""),
        ])
    };
    assert_eq!(
        placed(with("c^", 8.0), with("c^", 4.0), None, &own).unwrap(),
        twice
    );
    assert_eq!(
        placed(with("c'", 8.0), with("c'", 4.0), None, &own).unwrap(),
        twice
    );
    let transform = SourceTransform::new(origin(), with("t", 8.0), with("t", 4.0), None, Some(3));
    let found = transform.unwrap().unwrap().place(&own[..3]).unwrap();
    assert_eq!(found.map(|a| a.unit_nm), [8.0, 8.0, 40.0]);
    let mixed = rows(&[
        &[1.0, 0.0, 0.0, 0.0, 0.0],
        &[0.0, 1.0, 0.0, 0.0, 0.0],
        &[0.0, 0.0, 1.0, 0.0, 0.0],
        &[1.0, 0.0, 0.0, 1.0, 0.0],
    ]);
    let e = placed(None, with("c^", 4.0), mixed, &own).unwrap_err();
    assert!(e.contains("matrix[3]") && e.contains("mixes"), "{e}");
    let swapped = rows(&[
        &[0.0, 0.0, 0.0, 1.0, 0.0],
        &[0.0, 1.0, 0.0, 0.0, 0.0],
        &[0.0, 0.0, 1.0, 0.0, 0.0],
        &[1.0, 0.0, 0.0, 0.0, 0.0],
    ]);
    assert!(placed(None, with("c^", 4.0), swapped, &own).is_err());
}

#[test]
fn a_transform_other_than_scale_and_translation_is_an_error_with_its_reason() {
    let own = source(&[("x", 4.0), ("y", 4.0), ("z", 40.0)]);
    for (first, second, words) in [
        (
            [0.0, -1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0, 0.0],
            "mirrors the layer along x",
        ),
        (
            [-1.0, 0.0, 0.0, 99.0],
            [0.0, 1.0, 0.0, 0.0],
            "mirrors the layer along x",
        ),
        (
            [0.8, 0.6, 0.0, 0.0],
            [-0.6, 0.8, 0.0, 0.0],
            "rotation or shear",
        ),
        (
            [1.0, 0.1, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            "rotation or shear",
        ),
        ([0.0; 4], [0.0, 1.0, 0.0, 0.0], "has no input for x"),
        (
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            "two axes from one dimension",
        ),
    ] {
        let matrix = rows(&[&first, &second, &[0.0, 0.0, 1.0, 0.0]]);
        let e = placed(None, nm(4.0, 4.0, 40.0), matrix, &own).unwrap_err();
        assert!(
            e.contains(words) && e.contains("transform.matrix") && e.contains("`img`"),
            "{words}: {e}"
        );
    }
    let flat = space(&[("x", 4.0, "nm"), ("y", 4.0, "nm"), ("z", 1.0, "s")]);
    let e = placed(None, flat, None, &own).unwrap_err();
    assert!(e.contains("outputDimensions.z` is [1.0, \"s\"]"), "{e}");
    // A dimension that the transform omits is not moved.
    let two = space(&[("x", 8.0, "nm"), ("y", 8.0, "nm")]);
    let found = placed(two.clone(), two, None, &own).unwrap();
    assert_eq!(found, [(0, 8.0, 0.0), (1, 8.0, 0.0), (2, 40.0, 0.0)]);
}
