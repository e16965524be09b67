//! The only crate that knows Python: the door through which letters go.
//!
//! Letters are msgpack in both directions. No thread of the engine comes through here, and no call waits for one: whatever
//! needs time is done with the GIL released.

use pyo3::prelude::*;

/// The engine, as a Python module; `src/biandou/_engine.pyi` is its exact shape.
#[pymodule]
mod _engine {
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::{BorrowedFd, OwnedFd};

    use biandou_engine::letters;
    use biandou_engine::listen::Inherited;
    use biandou_engine::mail::{Answer, Endpoints};
    use biandou_engine::plan::Plan;
    use biandou_engine::plugin::Advice;
    use biandou_engine::view::Wanted;
    use pyo3::exceptions::{PyOSError, PyValueError};
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// The data plane of one process.
    #[pyclass(frozen)]
    struct Engine {
        engine: biandou_engine::Engine,
    }

    #[pymethods]
    impl Engine {
        #[new]
        fn new(plan: &[u8], bell: i32) -> PyResult<Self> {
            let plan: Plan = read(plan, "plan")?;
            let inherited = inherited(&plan)?;
            let bell = take_fd(bell)?;
            Ok(Self {
                engine: biandou_engine::Engine::new(plan, bell, inherited),
            })
        }

        fn start(&self, py: Python<'_>) -> PyResult<Vec<(String, String, u16)>> {
            let serving = py.detach(|| self.engine.start());
            addresses(serving)
        }

        fn replan(&self, py: Python<'_>, plan: &[u8]) -> PyResult<Vec<(String, String, u16)>> {
            let plan: Plan = read(plan, "plan")?;
            let inherited = inherited(&plan)?;
            let serving = py.detach(|| self.engine.replan(plan, inherited));
            addresses(serving)
        }

        fn mail<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
            write(py, &self.engine.mail())
        }

        fn answer(&self, py: Python<'_>, ticket: u64, answer: &[u8]) -> PyResult<()> {
            let answer: Answer = read(answer, "answer")?;
            py.detach(|| self.engine.answer(ticket, answer));
            Ok(())
        }

        fn advise(&self, py: Python<'_>, ticket: u64, advice: &[u8]) -> PyResult<()> {
            let advice: Advice = read(advice, "advice")?;
            py.detach(|| self.engine.advise(ticket, advice));
            Ok(())
        }

        fn endpoints(&self, py: Python<'_>, letter: &[u8]) -> PyResult<()> {
            let letter: Endpoints = read(letter, "endpoints")?;
            py.detach(|| self.engine.endpoints(letter));
            Ok(())
        }

        fn forget(&self, router: &str, client: &str) {
            self.engine.forget(router, client);
        }

        fn reopen_logs(&self) {
            self.engine.reopen_logs();
        }

        fn tally<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
            let tally = py.detach(|| self.engine.tally());
            write(py, &tally)
        }

        fn last_windows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
            let tally = py.detach(|| self.engine.last_windows());
            write(py, &tally)
        }

        fn end_windows(&self, py: Python<'_>) {
            py.detach(|| self.engine.end_windows());
        }

        fn clients<'py>(&self, py: Python<'py>, router: &str, client: &str) -> PyResult<Bound<'py, PyBytes>> {
            let clients = py.detach(|| self.engine.clients(Wanted { router, client }));
            write(py, &clients)
        }

        fn stop(&self, grace_ms: u64) {
            self.engine.stop(grace_ms);
        }
    }

    fn addresses(serving: std::io::Result<Vec<(String, SocketAddr)>>) -> PyResult<Vec<(String, String, u16)>> {
        let serving = serving.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(serving
            .into_iter()
            .map(|(router, address)| (router, address.ip().to_string(), address.port()))
            .collect())
    }

    /// Takes in the listening sockets that a plan names.
    fn inherited(plan: &Plan) -> PyResult<Inherited> {
        let servers = plan.routers.iter().flat_map(|router| &router.servers);
        servers
            .flat_map(|server| &server.fds)
            .map(|fd| Ok((*fd, TcpListener::from(take_fd(*fd)?))))
            .collect()
    }

    fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> PyResult<T> {
        letters::read(bytes).map_err(|error| PyValueError::new_err(format!("not a {what}: {error}")))
    }

    fn write<'py, T: Serialize>(py: Python<'py>, letter: &T) -> PyResult<Bound<'py, PyBytes>> {
        let bytes =
            letters::write(letter).map_err(|error| PyValueError::new_err(format!("cannot write a letter: {error}")))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Takes in a file descriptor of Python's: a duplicate of it, so that each side closes its own.
    fn take_fd(fd: i32) -> PyResult<OwnedFd> {
        if fd < 0 {
            return Err(PyValueError::new_err(format!("{fd} is not a file descriptor")));
        }
        // SAFETY: the number is borrowed only for this call, during which the GIL keeps Python from closing it; one that is
        // not open makes `dup` fail with EBADF.
        #[allow(unsafe_code)]
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        borrowed
            .try_clone_to_owned()
            .map_err(|error| PyValueError::new_err(format!("file descriptor {fd} cannot be used: {error}")))
    }
}
