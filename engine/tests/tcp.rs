//! Connections that are passed on as they are, through an engine with canned answers.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use biandou_engine::mail::Outgoing;
use serde_json::{Value, json};

use support::{Mesh, Origin, Peer, bound, endpoints, eventually, plan};

const CLIENT: &str = "/#/io.l5d.fs/db";

fn router(identifiers: &Value) -> Value {
    json!({"protocol": "tcp", "identifiers": identifiers})
}

/// A router of connections, all of which go to these endpoints.
fn passing(server: &Value, addresses: &[SocketAddr], policy: &Value) -> Mesh {
    Mesh::start(
        &plan(server, &router(&json!([{"kind": "io.l5d.static", "path": "db"}]))),
        &[endpoints(CLIENT, addresses, policy)],
        &[("/svc/db", bound(CLIENT))],
    )
}

/// Sends back all that it gets, and ends when the caller has.
fn echo() -> Origin {
    Origin::start(|mut peer: Peer, _tell: &Sender<String>| {
        let mut bytes = [0; 16384];
        while let Ok(count @ 1..) = peer.stream.read(&mut bytes) {
            peer.send(&bytes[..count]);
        }
    })
}

/// Sends bytes and ends our half; gives what comes back.
fn say(mesh: &Mesh, bytes: &[u8]) -> String {
    let mut caller = mesh.connect();
    caller.send(bytes);
    caller.finish();
    caller.rest()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// The first bytes of a TLS connection to `name`.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("memory takes it");
    bytes
}

#[test]
fn bytes_go_both_ways_and_either_side_may_end_first() {
    let origin = echo();
    let mesh = passing(&json!({}), &[origin.address], &json!({}));
    let mut caller = mesh.connect();
    caller.send(b"one");
    assert_eq!(caller.take(3), b"one");
    caller.send(b"two");
    caller.finish();
    assert_eq!(caller.rest(), "two");
    mesh.settle();
    assert_eq!(mesh.counter("server", "requests"), 1);
    assert_eq!(mesh.counter("server", "success"), 1);
    assert_eq!(mesh.counter("client", "sent_bytes"), 6);
    assert_eq!(mesh.counter("server", "sent_bytes"), 6);
}

#[test]
fn a_server_may_speak_first() {
    let origin = Origin::start(|mut peer: Peer, _tell: &Sender<String>| {
        peer.send(b"220 ready\r\n");
        peer.until("QUIT\r\n");
    });
    let mesh = passing(&json!({}), &[origin.address], &json!({}));
    let mut caller = mesh.connect();
    assert_eq!(caller.until("\r\n"), "220 ready\r\n");
    caller.send(b"QUIT\r\n");
    assert_eq!(caller.rest(), "");
}

#[test]
fn a_flood_waits_for_a_slow_reader_and_loses_nothing() {
    const SIZE: usize = 8 * 1024 * 1024;
    let origin = echo();
    let mesh = passing(&json!({}), &[origin.address], &json!({}));
    let caller = mesh.connect();
    let mut writer = caller.stream.try_clone().expect("a second handle");
    let sent: Vec<u8> = (0..SIZE).map(|at| (at / 7 % 251) as u8).collect();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).expect("all is taken");
        writer.shutdown(std::net::Shutdown::Write).expect("a half close");
    });
    thread::sleep(Duration::from_millis(100));
    let mut reader = caller.stream;
    let mut received = Vec::with_capacity(SIZE);
    reader.read_to_end(&mut received).expect("all comes back");
    writing.join().expect("the writer ends");
    assert!(received == sent, "{} bytes came back of {SIZE}", received.len());
}

#[test]
fn an_endpoint_that_takes_no_connection_is_passed_over() {
    let origin = echo();
    let mesh = passing(&json!({}), &[nowhere(), origin.address], &json!({}));
    for _ in 0..20 {
        let mut caller = mesh.connect();
        caller.send(b"x");
        caller.finish();
        assert_eq!(caller.rest(), "x");
    }
    assert_eq!(mesh.counter("server", "failures"), 0);
    assert!(mesh.counter("client", "failures") > 0, "the dead one was tried");
}

/// Sees the connection reset, and the reason logged.
fn lost(mesh: &Mesh, mut caller: Peer, reason: &str) {
    let ended = caller.stream.read(&mut [0]);
    assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    eventually("the reason is logged", || {
        let letters = mesh.asked.lock().expect("the list");
        letters.iter().any(|letter| {
            matches!(letter, Outgoing::Note { message, .. }
                if message.starts_with("http: a connection from 127.0.0.1:") && message.contains(reason))
        })
    });
}

#[test]
fn a_connection_that_leads_nowhere_is_reset_and_the_reason_is_logged() {
    let mesh = passing(&json!({}), &[nowhere()], &json!({}));
    let mut caller = mesh.connect();
    caller.send(b"x");
    lost(&mesh, caller, "");
    assert_eq!(mesh.counter("server", "failures"), 1);
}

#[test]
fn a_reset_reaches_the_other_end() {
    let origin = Origin::start(|mut peer: Peer, tell: &Sender<String>| {
        peer.take(1);
        let ended = peer.stream.read(&mut [0]);
        tell.send(format!("{:?}", ended.map_err(|error| error.kind())))
            .expect("the test listens");
    });
    let mesh = passing(&json!({}), &[origin.address], &json!({}));
    let mut caller = mesh.connect();
    caller.send(b"x");
    // Bytes that nobody has read make the close a reset.
    thread::sleep(Duration::from_millis(50));
    socket2::SockRef::from(&caller.stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(caller);
    assert_eq!(
        origin.heads.recv_timeout(support::PATIENCE).as_deref(),
        Ok("Err(ConnectionReset)")
    );
    mesh.settle();
}

#[test]
fn a_connection_that_outlasts_the_grace_is_reset_on_both_sides() {
    let origin = Origin::start(|mut peer: Peer, tell: &Sender<String>| {
        peer.send(b"a half");
        let ended = peer.stream.read(&mut [0]);
        tell.send(format!("{:?}", ended.map_err(|error| error.kind())))
            .expect("the test listens");
    });
    let mesh = passing(&json!({}), &[origin.address], &json!({}));
    let mut caller = mesh.connect();
    assert_eq!(caller.take(6), b"a half");
    mesh.engine.stop(200);
    let ended = caller.stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(
        ended,
        Err(ErrorKind::ConnectionReset),
        "it must not take it for the whole"
    );
    assert_eq!(
        origin.heads.recv_timeout(support::PATIENCE).as_deref(),
        Ok("Err(ConnectionReset)")
    );
    mesh.drain(1);
}

#[test]
fn a_connection_that_both_leave_silent_is_closed() {
    let origin = echo();
    let mesh = passing(&json!({"idle_timeout_ms": 300}), &[origin.address], &json!({}));
    let mut caller = mesh.connect();
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(150));
        caller.send(b"x");
        assert_eq!(caller.take(1), b"x");
    }
    assert_eq!(caller.rest(), "");
    mesh.settle();
}

#[test]
fn more_connections_than_the_server_takes_are_refused() {
    let origin = echo();
    let mesh = passing(&json!({"max_concurrent_requests": 1}), &[origin.address], &json!({}));
    let mut first = mesh.connect();
    first.send(b"x");
    assert_eq!(first.take(1), b"x");
    assert_eq!(mesh.connect().rest(), "");
    drop(first);
    mesh.settle();
    assert_eq!(say(&mesh, b"z"), "z");
}

#[test]
fn the_server_that_tls_asks_for_is_the_name() {
    let origin = echo();
    let identifiers = json!([{"kind": "io.biandou.sni"}, {"kind": "io.l5d.static", "path": "other"}]);
    let mesh = Mesh::start(
        &plan(&json!({}), &router(&identifiers)),
        &[endpoints(CLIENT, &[origin.address], &json!({}))],
        &[("/svc/db.example.com", bound(CLIENT)), ("/svc/other", bound(CLIENT))],
    );
    let hello = hello("DB.example.com");
    let mut caller = mesh.connect();
    // In two pieces, as the network likes.
    caller.send(&hello[..20]);
    thread::sleep(Duration::from_millis(30));
    caller.send(&hello[20..]);
    assert_eq!(caller.take(hello.len()), hello, "the endpoint gets every byte");
    assert_eq!(say(&mesh, b"no TLS"), "no TLS");
    let letters = mesh.asked.lock().expect("the list");
    let asked: Vec<_> = letters
        .iter()
        .filter_map(|letter| match letter {
            Outgoing::Ask { path, .. } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, ["/svc/db.example.com", "/svc/other"]);
}

#[test]
fn a_name_of_where_a_connection_was_going_needs_one_that_was_redirected() {
    let origin = echo();
    let mesh = Mesh::start(
        &plan(&json!({}), &router(&json!([{"kind": "io.biandou.originalDst"}]))),
        &[endpoints(CLIENT, &[origin.address], &json!({}))],
        &[],
    );
    let mut caller = mesh.connect();
    // It may be lost before a word is said.
    let _sent = caller.stream.write_all(b"x");
    assert_eq!(caller.rest(), "");
    assert_eq!(mesh.asks(), 0, "it does not lead to ourselves");
}

#[test]
fn what_does_not_speak_http_goes_to_the_router_of_connections() {
    let web = Origin::start(|mut peer: Peer, _tell: &Sender<String>| {
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nweb");
    });
    let database = echo();
    let mut both = plan(
        &json!({"not_http": {"router": "tcp", "silence_ms": 200}}),
        &json!({"label": "http"}),
    );
    let other = plan(&json!({}), &router(&json!([{"kind": "io.l5d.static", "path": "db"}])));
    both["routers"]
        .as_array_mut()
        .expect("routers")
        .push(other["routers"][0].clone());
    both["routers"][1]["label"] = json!("tcp");
    let mut letter = endpoints(CLIENT, &[database.address], &json!({}));
    letter["router"] = json!("tcp");
    let mesh = Mesh::start(
        &both,
        &[endpoints("/#/io.l5d.fs/web", &[web.address], &json!({})), letter],
        &[("/svc/web", bound("/#/io.l5d.fs/web")), ("/svc/db", bound(CLIENT))],
    );
    for _ in 0..2 {
        let answered = mesh.talk(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(answered.starts_with("HTTP/1.1 200 OK\r\n"), "{answered:?}");
        assert_eq!(say(&mesh, b"PING\r\n"), "PING\r\n");
        assert_eq!(say(&mesh, b"ruok"), "ruok", "ZooKeeper's commands end without a line");
    }
    let mut word = mesh.connect();
    word.send(b"ruok");
    assert_eq!(word.take(4), b"ruok", "nor does the caller have to end");
    let mut slow = mesh.connect();
    slow.send(b"GET / HT");
    thread::sleep(Duration::from_millis(300));
    slow.send(b"TP/1.1\r\nHost: web\r\n\r\n");
    assert!(
        slow.head().starts_with("HTTP/1.1 200 OK\r\n"),
        "an unfinished line is HTTP's"
    );
    let mut silent = mesh.connect();
    thread::sleep(Duration::from_millis(400));
    silent.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        silent.take(18),
        b"GET / HTTP/1.1\r\n\r\n",
        "who waits to be spoken to does not speak HTTP"
    );
}

#[test]
fn a_connection_that_would_go_out_to_where_it_came_in_is_reset_and_opens_no_other() {
    let port = nowhere().port();
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let mesh = passing(&json!({"port": port}), &[here], &json!({}));
    let mut caller = mesh.connect();
    caller.send(b"round");
    lost(&mesh, caller, "it would go round for ever");
    assert_eq!(mesh.counter("server", "connects"), 1);
    assert_eq!(mesh.counter("client", "connects"), 0);
}
