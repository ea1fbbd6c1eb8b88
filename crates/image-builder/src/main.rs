//! `image-builder IMAGE`: starts a temporary cluster as programs do, and writes it, at rest, as the image that their first database opens from.
//!
//! Part of `cargo xtask assets`; nothing else runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: image-builder IMAGE");
        return ExitCode::FAILURE;
    };
    let written = pglite_oxide::built_in_image()
        .and_then(|image| std::fs::write(path, image).map_err(Into::into));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image-builder: {error}");
            ExitCode::FAILURE
        }
    }
}
