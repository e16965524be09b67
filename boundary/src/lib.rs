//! The only crate that knows Python: the door through which letters go.

use pyo3::prelude::*;

/// The engine, as a Python module; `src/biandou/_engine.pyi` is its exact shape.
#[pymodule]
mod _engine {}
