//! The Python environment of `tests/requirements.txt`, which `./test` makes.

use std::path::{Path, PathBuf};

/// A program of that environment.
pub fn program(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("tests/.cache/venv/bin").join(name);
    assert!(
        program.exists(),
        "no Python environment with {name} at {}: run ./test --prepare, which makes it",
        program.display()
    );
    program
}
