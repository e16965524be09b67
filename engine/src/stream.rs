//! A connection, plain or through TLS: one type, so that everything above it is written once.
//!
//! A plain stream is held as it is and costs one comparison more than a bare socket.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection to a caller or to an endpoint.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    /// The cell lets one task read and write at once through the two halves; it is borrowed for the length of a poll only.
    Tls(Box<RefCell<TlsStream<TcpStream>>>),
}

/// Where it can be seen that the other side has reset the connection.
pub trait Socket {
    /// The error that waits on the socket, if any.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// Whether the other side has ended its half, and all that it sent has been read from the socket.
    fn has_ended(&self, context: &mut Context<'_>) -> bool;
}

fn is_at_end(stream: &TcpStream, context: &mut Context<'_>) -> bool {
    let mut byte = [0];
    matches!(
        stream.poll_peek(context, &mut ReadBuf::new(&mut byte)),
        Poll::Ready(Ok(0))
    )
}

/// The half that reads.
#[derive(Debug)]
pub enum ReadHalf<'a> {
    Plain(&'a TcpStream),
    Tls(&'a RefCell<TlsStream<TcpStream>>),
}

/// The half that writes.
#[derive(Debug)]
pub enum WriteHalf<'a> {
    Plain(&'a TcpStream),
    Tls(&'a RefCell<TlsStream<TcpStream>>),
}

impl Stream {
    /// Takes in a connection whose handshake is done.
    pub fn encrypted(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Box::new(RefCell::new(stream.into())))
    }

    /// The socket below.
    pub fn socket(&mut self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().get_ref().0,
        }
    }

    /// The certificate that the other side has shown and we have verified, in DER form.
    pub fn peer_certificate(&mut self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                let (_, state) = stream.get_mut().get_ref();
                state.peer_certificates()?.first().map(AsRef::as_ref)
            }
        }
    }

    /// The server that a caller's TLS has asked for.
    pub fn server_name(&mut self) -> Option<Box<str>> {
        match self {
            Self::Tls(stream) => match stream.get_mut() {
                TlsStream::Server(stream) => stream.get_ref().1.server_name().map(Into::into),
                TlsStream::Client(_) => None,
            },
            Self::Plain(_) => None,
        }
    }

    /// Both halves, for one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(stream) => (ReadHalf::Plain(stream), WriteHalf::Plain(stream)),
            Self::Tls(stream) => (ReadHalf::Tls(stream), WriteHalf::Tls(stream)),
        }
    }

    /// Looks whether bytes have come with a new connection: until the first look it is taken for readable.
    pub fn look(&self) {
        if let Self::Plain(stream) = self {
            let mut byte = [0u8];
            // What is wrong with it the first read will tell.
            let _looked = stream.try_io(Interest::READABLE, || {
                Ok(rustix::net::recv(stream, &mut byte, RecvFlags::PEEK)?)
            });
        }
    }

    /// Ready when a read may give something.
    pub fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(context),
            Self::Tls(stream) => {
                let stream = stream.get_mut();
                if has_plaintext(stream) {
                    return Poll::Ready(Ok(()));
                }
                stream.get_ref().0.poll_read_ready(context)
            }
        }
    }

    /// Whether it is open and silent, as it must be between two exchanges. Costs no system call while all is well.
    ///
    /// What TLS itself has to say (a new session ticket) is taken in and is no noise; its `close_notify` is.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            // Asks the kernel only if the driver has seen something.
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut [0u8]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => {
                let mut byte = [0u8];
                let mut space = ReadBuf::new(&mut byte);
                let mut context = Context::from_waker(Waker::noop());
                Pin::new(stream.get_mut())
                    .poll_read(&mut context, &mut space)
                    .is_pending()
            }
        }
    }
}

/// Reads once. Costs less than tokio's own way, which first counts against the task's budget: whoever reads or writes in a
/// loop that need not wait has to do that himself.
fn poll_recv(stream: &TcpStream, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    loop {
        let free = space.initialize_unfilled();
        let room = free.len();
        let received = stream.try_io(Interest::READABLE, || {
            let (_, count) = rustix::net::recv(stream, free, RecvFlags::empty())?;
            Ok(count)
        });
        match received {
            Ok(count) => {
                space.advance(count);
                if count > 0 && count < room {
                    rest(stream, Interest::READABLE);
                }
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(context))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Writes once; see `poll_recv`.
fn poll_send(stream: &TcpStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
        });
        match sent {
            Ok(count) => {
                if count > 0 && count < bytes.len() {
                    rest(stream, Interest::WRITABLE);
                }
                return Poll::Ready(Ok(count));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(context))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Notes that the kernel has given, or taken, all that it can for now: the next call waits for the driver instead of asking.
fn rest(stream: &TcpStream, interest: Interest) {
    // The error is what we have just made.
    let _would_block = stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

/// Whether bytes were decrypted and not yet read, or the other side has said that it sends no more.
fn has_plaintext(stream: &mut TlsStream<TcpStream>) -> bool {
    let state = match stream {
        TlsStream::Client(stream) => stream.get_mut().1.process_new_packets(),
        TlsStream::Server(stream) => stream.get_mut().1.process_new_packets(),
    };
    state.map_or(true, |state| {
        state.plaintext_bytes_to_read() > 0 || state.peer_has_closed()
    })
}

impl Socket for WriteHalf<'_> {
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Plain(stream) => stream.take_error(),
            Self::Tls(stream) => stream.borrow().get_ref().0.take_error(),
        }
    }

    fn has_ended(&self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(stream) => is_at_end(stream, context),
            Self::Tls(stream) => is_at_end(stream.borrow().get_ref().0, context),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => poll_recv(stream, context, space),
            Self::Tls(stream) => Pin::new(stream.get_mut()).poll_read(context, space),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => poll_send(stream, context, bytes),
            Self::Tls(stream) => Pin::new(stream.get_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.get_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.get_mut()).poll_shutdown(context),
        }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => poll_recv(stream, context, space),
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_read(context, space),
        }
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => poll_send(stream, context, bytes),
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => {
                Poll::Ready(rustix::net::shutdown(*stream, Shutdown::Write).map_err(io::Error::from))
            }
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_shutdown(context),
        }
    }
}
