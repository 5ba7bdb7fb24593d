use super::*;

#[test]
fn inputs_that_crashed_check_before_are_findings() {
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let file = out.join("val.zarr/start_voxel/zarr.json");
    for entry in fs::read_dir(data.join("abuse")).unwrap() {
        fs::copy(entry.unwrap().path().join("input"), &file).unwrap();
        assert!(names(&check(&out), "val.zarr/start_voxel/zarr.json"));
        forge(&out, "val.zarr/start_voxel/zarr.json");
        assert!(names(&check(&out), "val.zarr/start_voxel"));
    }
}
