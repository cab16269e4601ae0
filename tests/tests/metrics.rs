//! Figures for Prometheus: each has its type and help, and they tell what happened.

use std::collections::BTreeMap;

use skep_tests::{Deadline, Port, Skep, Start, http};

/// Samples by name and labels; checks the format on the way.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has one type");
            assert_eq!(kind == "counter", name.ends_with("_total"), "counters and only they end so: {line}");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = series.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = types.contains_key(name)
                || family.is_some_and(|family| types.get(family).is_some_and(|kind| kind == "histogram"));
            assert!(known, "{series} belongs to a family");
            let twice = found.insert(series.to_owned(), value.parse().expect("a number"));
            assert!(twice.is_none(), "{series} stands there once");
        }
    }
    found
}

#[test]
fn workers_tell_of_themselves_when_they_are_asked() {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("app", "leak.js").port(port.number()).instances(2));
    let labels = |index: u32| format!("app=\"app\",namespace=\"default\",index=\"{index}\"");
    // The first question is what makes them count.
    samples(&skep.ok(["metrics"]));
    for _ in 0..20 {
        http::get(port.address(), "/").expect("every request is answered");
    }
    skep.crash("app", 1);
    // Answers are shared for a second.
    let found = Deadline::until("both have told what they did since", || {
        let found = samples(&skep.ok(["metrics"]));
        let heap = format!("skep_worker_heap_used_bytes{{{}}}", labels(1));
        let served = format!("skep_worker_http_responses_total{{{},code=\"2xx\"}}", labels(0));
        (found.contains_key(&heap) && found.get(&served).is_some_and(|count| *count > 0.0)).then_some(found)
    });
    let value = |name: &str, more: &str, index: u32| {
        let series = format!("{name}{{{}{more}}}", labels(index));
        *found.get(&series).unwrap_or_else(|| panic!("{series} is missing in {found:#?}"))
    };
    assert!(value("skep_worker_up", "", 0) == 1.0);
    assert_eq!(value("skep_worker_restarts_total", ",reason=\"crash\"", 1), 1.0);
    assert_eq!(value("skep_worker_restarts_total", ",reason=\"crash\"", 0), 0.0);
    assert!(value("skep_worker_resident_memory_bytes", "", 0) > 10e6);
    assert!(value("skep_worker_cpu_seconds_total", "", 0) > 0.0);
    let served = value("skep_worker_http_responses_total", ",code=\"2xx\"", 0);
    assert_eq!(value("skep_worker_http_response_duration_seconds_count", "", 0), served);
    assert_eq!(value("skep_worker_http_response_duration_seconds_bucket", ",le=\"+Inf\"", 0), served);
    assert!(found.keys().any(|series| series.starts_with("skep_listener_queue_connections{")));
    assert_eq!(found["skep_daemon_restarts_total"], 0.0);
    let slot = &skep.api("/v1/apps/app")[0]["slots"][0];
    assert!(slot["vitals"]["http_requests"].as_u64().is_some_and(|count| count > 0), "{slot}");
}
