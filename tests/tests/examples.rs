//! The examples do what their first lines say.

use skep_tests::{Port, Service, Skep, Start, http, is_free, root};

fn check(example: &str) {
    let (skep, port) = (Skep::new(), Port::free());
    let ask = || {
        let value = http::get(port.address(), "/")?.json();
        Ok(u32::try_from(value["pid"].as_u64().expect("every example says its pid")).expect("a pid is small"))
    };
    let service = Service {
        skep: &skep,
        start: Start::program("example", root().join("examples").join(example)).port(port.number()),
        ask: Box::new(ask),
        is_free: Box::new(|| is_free(port.number())),
    };
    service.check_life();
}

#[test]
fn hello_serves() {
    check("hello/app.js");
}

#[test]
fn the_express_shop_serves() {
    check("express/app.js");
}
