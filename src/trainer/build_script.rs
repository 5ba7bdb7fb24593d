//! Build script. With the feature `tch`, it stores the path of libtorch in the program `pointshard-train`, so that it runs
//! without `LD_LIBRARY_PATH`, and gives both programs a digest of the sources, by which they recognize each other. The
//! program `pointshard` gets no argument for the linker: it must not load libtorch.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src/trainer/build_script.rs");
    // Set by torch-sys for its direct dependents.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return Ok(());
    };
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-env=POINTSHARD_BUILD={:016x}", digest("src")?);
    println!("cargo:rustc-env=POINTSHARD_LIBTORCH={lib}");
    let link = |argument: &str| println!("cargo:rustc-link-arg-bin=pointshard-train={argument}");
    // With old tags the path also applies to the libraries that libtorch loads.
    link(&format!("-Wl,--disable-new-dtags,-rpath,{lib}"));
    if Path::new(&lib).join("libtorch_cuda.so").exists() {
        // No symbol refers to these libraries. Without this flag the linker drops them, and libtorch finds no CUDA.
        link("-Wl,--no-as-needed");
        link(&format!("-L{lib}"));
        link("-ltorch_cuda");
        link("-ltorch");
    }
    Ok(())
}

/// A digest of the names and the contents of all files in `folder`.
fn digest(folder: &str) -> io::Result<u64> {
    let mut files = Vec::new();
    find_files(folder.as_ref(), &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        for bytes in [file.as_os_str().as_encoded_bytes(), &fs::read(&file)?] {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    }
    Ok(hasher.finish())
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
