//! Workers get their turn at the writer's lock while clients keep the door busy.

mod common;

use common::{Answer, Door};

/// Members of the set that slow commands copy: more than a transaction's time takes.
const MEMBERS: usize = 5_000;
const CLIENTS: usize = 3;
const COMMANDS: usize = 24;

#[test]
fn slow_commands_of_several_clients_do_not_hold_the_lock_together() {
    let door = Door::open();
    let mut first = door.client();
    let members: Vec<String> = (0..MEMBERS).map(|n| n.to_string()).collect();
    let mut add: Vec<&[u8]> = vec![b"sadd", b"s"];
    add.extend(members.iter().map(String::as_bytes));
    assert_eq!(first.ask(&add), Answer::Integer(MEMBERS as i64));
    let before = door.supervisor.stats().writes;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| door.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.raw(format!("sunionstore copy{n} s\r\n").repeat(COMMANDS).as_bytes());
    }
    for client in &mut clients {
        for _ in 0..COMMANDS {
            assert_eq!(client.answer(), Answer::Integer(MEMBERS as i64));
        }
    }
    // The clock is looked at after eight of them at the latest.
    let transactions = door.supervisor.stats().writes - before;
    assert!(transactions >= (CLIENTS * COMMANDS / 8) as u64, "{transactions} transactions");
}
