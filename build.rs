//! Compiles the proto files without `protoc`, and keeps their descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names the output directory")?);
    let descriptors = protox::compile(["registrar/v1/registrar.proto"], ["proto"])?;
    fs::write(out.join("registrar.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // They hold secrets; src/proto.rs says how they are shown.
        .skip_debug(["registrar.v1.NewDevice", "registrar.v1.ExportedDevice"])
        .compile_fds(descriptors)?;
    Ok(())
}
