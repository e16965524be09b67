//! Tunnels, and the end of everything.

mod support;

use std::time::{Duration, Instant};

use biandou_engine::mail::Outgoing;
use serde_json::json;
use support::{Mesh, Origin, eventually, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

/// An endpoint that changes the protocol and then sends back what it gets.
fn echo() -> Origin {
    Origin::start(|mut peer, tell| {
        let _told = tell.send(peer.head());
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        peer.stream.set_read_timeout(None).expect("no timeout");
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = std::io::Read::read(&mut peer.stream, &mut bytes) {
            peer.send(&bytes[..count]);
        }
        let _told = tell.send("ended".to_owned());
        peer.send(b"bye");
    })
}

#[test]
fn stopping_ends_kept_connections_after_their_request() {
    let origin = Origin::start(|mut peer, tell| {
        loop {
            let _told = tell.send(peer.head());
            std::thread::sleep(Duration::from_millis(200));
            peer.send(HELLO.as_bytes());
        }
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let mut half = mesh.connect();
    caller.send(&GET.repeat(3));
    half.send(b"GET / HTTP/1.1\r\nHost: we");
    origin.head();
    mesh.engine.stop(5000);
    let text = caller.rest();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    half.send(b"b\r\n\r\n");
    let text = half.rest();
    assert!(
        text.contains("\r\nConnection: close\r\n") && text.ends_with("hello"),
        "{text}"
    );
    mesh.drain(0);
}

#[test]
fn stopping_does_not_wait_for_ever() {
    for second in [false, true] {
        let origin = Origin::silent();
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        let idle = mesh.connect();
        caller.send(GET);
        origin.head();
        let started = Instant::now();
        mesh.engine.stop(if second { 60_000 } else { 300 });
        if second {
            std::thread::sleep(Duration::from_millis(100));
            mesh.engine.stop(0);
        }
        assert_eq!(caller.rest(), "");
        mesh.drain(1);
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(idle);
    }
}

#[test]
fn an_idle_connection_is_not_unfinished() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.head();
    caller.take(5);
    mesh.engine.stop(0);
    mesh.drain(0);
}

#[test]
fn an_engine_that_is_stopped_before_it_starts_stops() {
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd");
    let plan = serde_json::from_value(plan(&json!({}), &json!({}))).expect("a plan");
    let engine = biandou_engine::Engine::new(plan, bell, biandou_engine::listen::Inherited::new());
    engine.stop(100);
    engine.start().expect("it starts");
    eventually("it has drained", || {
        engine
            .mail()
            .iter()
            .any(|letter| matches!(letter, Outgoing::Drained { unfinished: 0 }))
    });
}

#[test]
fn a_tunnel_ends_with_either_side_and_with_the_grace() {
    for end in ["half", "reset", "stop"] {
        let origin = echo();
        let mesh = Mesh::web_with(
            &json!({"idle_timeout_ms": 300}),
            &json!({}),
            &json!({}),
            &[origin.address],
        );
        let mut caller = mesh.connect();
        caller.send(UPGRADE);
        assert!(caller.head().starts_with("HTTP/1.1 101"));
        origin.head();
        // A tunnel may be silent.
        std::thread::sleep(Duration::from_millis(700));
        caller.send(b"ping");
        assert_eq!(caller.take(4), b"ping");
        match end {
            "half" => {
                caller.finish();
                assert_eq!(caller.rest(), "bye");
            }
            "reset" => {
                socket2::SockRef::from(&caller.stream)
                    .set_linger(Some(Duration::ZERO))
                    .expect("an option");
                drop(caller);
            }
            _ => {
                mesh.engine.stop(300);
                let ended = std::io::Read::read(&mut caller.stream, &mut [0]).map_err(|error| error.kind());
                assert_eq!(
                    ended,
                    Err(std::io::ErrorKind::ConnectionReset),
                    "it must not take it for the whole"
                );
                mesh.drain(1);
            }
        }
        assert_eq!(origin.head(), "ended", "{end}");
        if end != "stop" {
            mesh.settle();
            eventually("the connection is closed", || mesh.counter("server", "closes") == 1);
        }
    }
}
