//! The table of names: who keeps a place in it, and who gives one up.

use super::*;
use crate::mail::Branch;

fn names(limit: usize) -> Names {
    let text = format!(
        r#"{{"label": "http", "protocol": "http", "dst_prefix": "/svc", "identifiers": [], "servers": [],
            "base_dentries": [], "binding_timeout_ms": 10000, "originator": false,
            "binding_cache": {{"paths": {limit}, "trees": 1, "bounds": 1, "clients": 1, "idle_ttl_ms": 600000}},
            "http": {{"max_head_bytes": 1, "max_line_bytes": 1, "max_header_count": 1, "max_error_body_bytes": 1}}}}"#
    );
    let plan = serde_json::from_str(&text).expect("a plan");
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("an eventfd");
    Names::new(0, &plan, 1, Arc::new(Outbox::new(bell)))
}

fn ask(names: &Names, path: &str, now_s: u64) -> Arc<Name> {
    names.find_or_ask(path.as_bytes(), path, Vec::new, now_s)
}

fn answer(outcome: Outcome) -> Answer {
    Answer {
        outcome,
        context: String::new(),
        override_dentries: Vec::new(),
        policy: ServicePolicy::default(),
    }
}

#[test]
fn a_name_that_a_request_waits_for_is_not_given_up_for_another() {
    let names = names(2);
    let waiting: Vec<_> = (0..100).map(|number| ask(&names, &format!("/{number}"), 5)).collect();
    assert!(waiting.iter().all(|name| !name.is_retired()));
    assert_eq!(names.outbox.take().len(), 100, "one ask each, and no release");
    for name in &waiting {
        names.answer(name.ticket, answer(Outcome::Negative), &Clients::new(1));
    }
    for number in 100..300 {
        let name = ask(&names, &format!("/{number}"), 5);
        names.answer(name.ticket, answer(Outcome::Negative), &Clients::new(1));
    }
    assert!(names.all().len() <= 2, "{} names are left", names.all().len());
}

#[test]
fn a_name_that_was_never_answered_is_given_up_once_nobody_can_wait_for_it() {
    let names = names(1);
    let first = ask(&names, "/a", 5);
    ask(&names, "/b", 15);
    assert!(!first.is_retired());
    ask(&names, "/c", 16);
    assert!(first.is_retired());
}

#[test]
fn not_even_waiting_names_fill_the_table_without_end() {
    let names = names(1);
    for number in 0..WAITING_MAX + 1000 {
        ask(&names, &format!("/{number}"), 5);
    }
    assert!(names.all().len() <= WAITING_MAX + 1);
}

#[test]
fn metrics_through_a_client_go_when_no_answer_names_it_any_more() {
    let names = names(10);
    let clients = Clients::new(1);
    let name = ask(&names, "/a", 5);
    for number in 0..1000 {
        let branches = vec![Branch {
            weight: 1.0,
            client: Some(format!("/{number}")),
            residual: "/".to_owned(),
        }];
        names.answer(name.ticket, answer(Outcome::Bound { branches }), &clients);
        name.service.through_client(&format!("/{number}"));
    }
    assert!(name.service.through().len() <= 16, "not even until the next sweep");
    names.expire(6, 600);
    assert!(name.service.through().len() <= 1);
}

fn serving(names: &Names, clients: &Clients, path: &str, now_s: u64) -> Arc<Name> {
    let name = ask(names, path, now_s);
    let branch = Branch {
        weight: 1.0,
        client: None,
        residual: "/".to_owned(),
    };
    names.answer(name.ticket, answer(Outcome::Bound { branches: vec![branch] }), clients);
    name.touch_first(now_s);
    name
}

#[test]
fn names_in_use_stay_however_many_others_are_asked_for_once() {
    let (names, clients) = (names(100), Clients::new(1));
    let used: Vec<_> = (0..60)
        .map(|number| serving(&names, &clients, &format!("/used/{number}"), 1))
        .collect();
    for name in &used {
        name.touch(1);
    }
    // All within one second, so that age tells nothing.
    for number in 0..20_000 {
        serving(&names, &clients, &format!("/stranger/{number}"), 1);
    }
    assert!(used.iter().all(|name| !name.is_retired()));
    assert_eq!(names.all().len(), 100);
}

#[test]
fn a_name_that_was_in_use_once_does_not_keep_its_place_for_ever() {
    let (names, clients) = (names(10), Clients::new(1));
    for number in 0..10 {
        serving(&names, &clients, &format!("/former/{number}"), 1).touch(1);
    }
    for number in 0..200 {
        serving(&names, &clients, &format!("/new/{number}"), 100);
    }
    let former = |name: &Arc<Name>| name.service.path.starts_with("/former/");
    assert!(!names.all().iter().any(former));
}

#[test]
fn the_longest_idle_name_that_leads_to_a_client_gives_way_to_another_client() {
    let (names, clients) = (names(10), Clients::new(1));
    let negative = ask(&names, "/negative", 1);
    names.answer(negative.ticket, answer(Outcome::Negative), &clients);
    let old = serving(&names, &clients, "/old", 2);
    let new = serving(&names, &clients, "/new", 3);
    assert!(names.give_up_for_client(3));
    assert_eq!(
        (old.is_retired(), new.is_retired(), negative.is_retired()),
        (true, false, false)
    );
    assert!(names.give_up_for_client(3));
    assert!(!names.give_up_for_client(3), "nothing else leads to one");
}

#[test]
fn a_flood_of_names_does_not_refill_the_budget_of_one_that_it_pushed_out() {
    let names = names(2);
    let clients = Clients::new(1);
    let left = || {
        let name = ask(&names, "/web", 5);
        names.answer(name.ticket, answer(Outcome::Negative), &clients);
        let answered = name.answered.load_full().expect("an answer");
        while answered.budget.withdraw(5000) {}
        name.service.retries_left(5000)
    };
    let before = ask(&names, "/web", 5);
    assert_eq!(left(), Some(0));
    for number in 0..1000 {
        let name = ask(&names, &format!("/{number}"), 5);
        names.answer(name.ticket, answer(Outcome::Negative), &clients);
    }
    assert!(before.is_retired());
    drop(before);
    let name = ask(&names, "/web", 6);
    names.answer(name.ticket, answer(Outcome::Negative), &clients);
    assert_eq!(name.service.retries_left(5000), Some(0));
    assert_eq!(name.service.retries_left(30_000), Some(100), "it fills up in its time");
}

#[test]
fn what_a_worker_keeps_of_a_name_is_outdated_by_the_names_own_changes_only() {
    let (names, clients) = (names(10), Clients::new(1));
    let (kept, other) = (
        serving(&names, &clients, "/kept", 1),
        serving(&names, &clients, "/other", 1),
    );
    let binding = Binding::of(kept.clone(), 0).expect("an answer");
    assert!(binding.is_current(names.changes()));
    names.answer(other.ticket, answer(Outcome::Negative), &clients);
    assert!(binding.is_current(names.changes()));
    names.answer(kept.ticket, answer(Outcome::Negative), &clients);
    assert!(!binding.is_current(names.changes()));
    let renewed = Binding::of(kept, 0).expect("an answer");
    assert!(renewed.is_current(names.changes()));
    names.close();
    assert!(!renewed.is_current(names.changes()));
}

#[test]
fn a_name_is_told_of_requests_that_a_worker_finds_by_itself() {
    let (names, clients) = (names(10), Clients::new(1));
    let name = serving(&names, &clients, "/web", 0);
    let binding = Binding::of(name.clone(), 0).expect("an answer");
    for now_s in [0, 7, 7, 50] {
        binding.touch(now_s);
        assert_eq!((name.used_s(), name.is_in_use(now_s)), (now_s, true));
    }
}

#[test]
fn names_of_one_policy_share_it() {
    let (names, clients) = (names(10), Clients::new(1));
    let policy = |total_timeout_ms, path: &str| {
        let name = ask(&names, path, 1);
        let mut answer = answer(Outcome::Negative);
        answer.policy.total_timeout_ms = total_timeout_ms;
        names.answer(name.ticket, answer, &clients);
        name.answered.load_full().expect("an answer").policy.clone()
    };
    let (one, same) = (policy(Some(5), "/a"), policy(Some(5), "/b"));
    assert!(Arc::ptr_eq(&one, &same));
    assert_eq!(policy(None, "/c").total_timeout_ms, None);
    assert_eq!(one.total_timeout_ms, Some(5));
}
