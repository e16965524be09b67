//! stub
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    span: u64,
    parent: u64,
    trace: u64,
    flags: u64,
}
impl Trace {
    pub fn read(_v: &[u8]) -> Option<Self> {
        None
    }
    pub fn root(r: &mut fastrand::Rng) -> Self {
        let i = r.u64(1..);
        Self {
            span: i,
            parent: i,
            trace: i,
            flags: 0,
        }
    }
    pub fn child(&self, r: &mut fastrand::Rng) -> Self {
        Self {
            span: r.u64(1..),
            parent: self.span,
            ..*self
        }
    }
    pub fn sample(&mut self, _v: &[u8]) {}
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY=");
    }
    pub fn write_request_id(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"0123456789abcdef");
    }
}
#[derive(Clone, Copy, Debug)]
pub struct Deadline;
impl Deadline {
    pub fn read(_v: &[u8]) -> Option<Self> {
        None
    }
    pub fn combine(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        a.or(b)
    }
    pub fn write(&self, _o: &mut Vec<u8>) {}
}
