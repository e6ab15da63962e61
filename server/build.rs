//! Lists the board's files (`clients/board`), so that the binary carries them and needs no folder
//! beside it.
//!
//! Writes `board.rs`: one row a file with its path below `/`, its type, a tag that changes with its
//! bytes, and the bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let board = root.join("../clients/board");
    println!("cargo::rerun-if-changed={}", board.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(&board, "", &mut files)?;
    files.sort();
    let mut out = String::from("&[\n");
    for (path, file) in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let tag = fingerprint(&fs::read(file)?);
        let file = file.canonicalize()?;
        let _ = writeln!(
            out,
            "Asset {{ path: {path:?}, kind: {:?}, tag: \"\\\"{tag:016x}\\\"\", bytes: \
             include_bytes!({:?}) }},",
            kind(path),
            file.display().to_string()
        );
    }
    out.push_str("]\n");
    let target = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("board.rs");
    fs::write(target, out)
}

/// Files below `folder`, by their path with `/`. A checkout without the board gives an empty list.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".d.ts") {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{prefix}/{name}"), files)?;
        } else {
            files.push((format!("{prefix}/{name}"), path));
        }
    }
    Ok(())
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// FNV-1a: enough to tell two versions of a file apart.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
