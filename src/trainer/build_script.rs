//! Build script: with the feature `tch`, stores the path of libtorch in the program, so that it runs without
//! `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=src/trainer/build_script.rs");
    // Set by torch-sys for its direct dependents.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // With old tags the path also applies to the libraries that libtorch loads.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
    if std::path::Path::new(&lib).join("libtorch_cuda.so").exists() {
        // No symbol refers to these libraries. Without this flag the linker drops them, and libtorch finds no CUDA.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-L{lib}");
        println!("cargo:rustc-link-arg=-ltorch_cuda");
        println!("cargo:rustc-link-arg=-ltorch");
    }
}
