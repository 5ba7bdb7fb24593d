//! Build script: where the feature `tch` is on, lets the program find libtorch at run time without
//! `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=src/trainer/link.rs");
    // torch-sys says this to those who depend on it directly.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // Old tags: the path then holds for the libraries that libtorch loads, too.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
    if std::path::Path::new(&lib).join("libtorch_cuda.so").exists() {
        // Nothing refers to these by name: without this the linker leaves them out, and CUDA is not found.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-L{lib}");
        println!("cargo:rustc-link-arg=-ltorch_cuda");
        println!("cargo:rustc-link-arg=-ltorch");
    }
}
