//! Generates the messages and services from `proto/` at the top of the repository, without `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    // One output for all: the messages always, the clients and servers only for who asks for them.
    // Clients are made by `new(channel)`: the generated `connect` would clash with methods of that name.
    let mut builder = tonic_prost_build::configure().build_transport(false);
    for package in ["hesuan.v1", "hesuan.internal.v1"] {
        builder = builder
            .client_mod_attribute(package, "#[cfg(feature = \"grpc\")]")
            .server_mod_attribute(package, "#[cfg(feature = \"grpc\")]");
    }
    builder
        .bytes(".hesuan.internal.v1.Envelope.body")
        .bytes(".hesuan.internal.v1.Item.command")
        .bytes(".hesuan.internal.v1.LogChunk.data")
        .bytes(".hesuan.internal.v1.Frame.raft")
        .bytes(".hesuan.internal.v1.Forwarded.command")
        .bytes(".hesuan.internal.v1.FileChunk.data")
        .bytes(".hesuan.v1.StreamLogsResponse.data")
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // Named one by one too: a changed folder alone does not tell of a changed file in it.
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}
