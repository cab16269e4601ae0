//! Groups with real sockets: who gets connections, what retiring and adopting preserve.

mod support;

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use skep_core::SlotId;
use skep_listeners::{AdoptError, Balance, Group, Options, Selector, Transfer};
use support::{
    LOCALHOST, at, connect, counts, group, is_root, now, options, rescue, slots, tcp, unprivileged,
};

fn spread(counts: &[usize]) -> usize {
    counts.iter().max().expect("some") - counts.iter().min().expect("some")
}

#[test]
fn round_robin_and_shortest_queue_give_everyone_the_same() {
    for (n, balance, expected) in [10, 100, 1000]
        .into_iter()
        .flat_map(|n| [(n, Balance::Auto, Selector::EbpfShortest), (n, Balance::Rr, Selector::EbpfRr)])
    {
        let mut group = group(balance, 4);
        let _clients = connect(&group, n);
        let selection = group.selection();
        let counts = counts(&mut group, &slots(4));
        assert_eq!(counts.iter().sum::<usize>(), n);
        if is_root() {
            assert_eq!(selection.selector, expected, "{}", selection.why);
            assert!(spread(&counts) <= 1, "{counts:?}");
        }
    }
}

#[test]
fn without_privileges_the_choice_is_random_and_says_why() {
    unprivileged(|| {
        let mut group = group(Balance::Auto, 4);
        let selection = group.selection();
        assert_eq!(selection.selector, Selector::CbpfRandom);
        assert!(selection.why.contains("CAP_BPF"), "{}", selection.why);
        let _clients = connect(&group, 1000);
        let counts = counts(&mut group, &slots(4));
        // 250 expected with a standard deviation of 14.
        assert!(counts.iter().all(|n| (110..390).contains(n)), "{counts:?}");
    });
}

#[test]
fn a_slot_that_is_not_live_gets_nothing_under_any_selector_that_steers() {
    for balance in
        [Balance::Rr, Balance::Least, Balance::Weighted, Balance::Random, Balance::Hash, Balance::Ip]
    {
        let mut group = group(balance, 4);
        group.set_live(SlotId(2), false);
        let _clients = connect(&group, 200);
        let before = counts(&mut group, &slots(4));
        assert_eq!((before[2], before.iter().sum::<usize>()), (0, 200), "{balance:?}");
        group.set_live(SlotId(2), true);
        let _more = connect(&group, 200);
        let after = counts(&mut group, &slots(4));
        assert_eq!(after.iter().sum::<usize>(), 200);
        if balance != Balance::Ip {
            assert!(after[2] > 0, "{balance:?} {after:?}");
        }
    }
}

#[test]
fn while_no_slot_is_live_connections_wait_for_one() {
    let mut group = group(Balance::Auto, 2);
    group.set_live(SlotId(0), false);
    group.set_live(SlotId(1), false);
    let _clients = connect(&group, 20);
    group.set_live(SlotId(1), true);
    let mut moves = Vec::new();
    for round in 0.. {
        let found = rescue(&mut group, now(round));
        if found.is_empty() {
            break;
        }
        moves.extend(found);
    }
    let own = counts(&mut group, &[SlotId(1)])[0];
    assert!(moves.iter().all(|m| m.from == Some(SlotId(0)) && m.to == SlotId(1)));
    assert_eq!(moves.len() + own, 20);
}

#[test]
fn weights_are_shares() {
    let mut group = group(Balance::Weighted, 3);
    group.set_weight(SlotId(0), 3);
    group.set_weight(SlotId(1), 0);
    let _clients = connect(&group, 100);
    let counts = counts(&mut group, &slots(3));
    assert_eq!(counts[1], 0);
    if is_root() {
        assert_eq!(counts, [75, 0, 25]);
    }
}

#[test]
fn least_follows_the_feedback_and_does_not_drown_a_newcomer() {
    let mut group = group(Balance::Least, 3);
    if group.selection().selector != Selector::EbpfLeast {
        return;
    }
    group.set_load(SlotId(0), 50);
    let _clients = connect(&group, 40);
    assert_eq!(counts(&mut group, &slots(3)), [0, 20, 20]);
    // A fourth starts level with the least loaded one.
    group.socket(SlotId(3)).expect("a socket");
    group.set_live(SlotId(3), true);
    let _more = connect(&group, 30);
    assert_eq!(counts(&mut group, &slots(4)), [0, 10, 10, 10]);
}

#[test]
fn a_client_address_keeps_its_slot_when_others_come_and_go() {
    for privileged in [true, false] {
        let check = || {
            let mut group = group(Balance::Ip, 3);
            let owner = |group: &mut Group, slots: &[SlotId]| {
                let _client = TcpStream::connect(at(group)).expect("listening");
                counts(group, slots).iter().position(|n| *n == 1).expect("one slot has it")
            };
            let mine = owner(&mut group, &slots(3));
            let other = SlotId(((mine + 1) % 3) as u32);
            group.set_live(other, false);
            assert_eq!(owner(&mut group, &slots(3)), mine);
            group.set_live(SlotId(mine as u32), false);
            assert_ne!(owner(&mut group, &slots(3)), mine);
            group.set_live(SlotId(mine as u32), true);
            assert_eq!(owner(&mut group, &slots(3)), mine);
        };
        if privileged { check() } else { unprivileged(check) }
    }
}

#[test]
fn retiring_a_slot_loses_no_connection() {
    for balance in [Balance::Auto, Balance::Rr, Balance::Random, Balance::Hash] {
        let mut group = group(balance, 3);
        let mut clients = connect(&group, 99);
        group.retire(SlotId(1));
        clients.extend(connect(&group, 51));
        let (mut accepted, left) = (0, [SlotId(0), SlotId(2)]);
        for round in 0..10 {
            accepted += rescue(&mut group, now(round)).len();
            accepted += counts(&mut group, &left).iter().sum::<usize>();
        }
        assert_eq!(accepted, 150, "{balance:?}");
        // The socket goes when it has been quiet for a while; the group works on without it.
        let again = group.patrol(now(1_000)).again.expect("a time to close it");
        assert!(group.patrol(again).moves.is_empty());
        assert_eq!(group.patrol(again).again, None);
        let ebpf = matches!(group.selection().selector, Selector::EbpfRr | Selector::EbpfShortest);
        let expected = if ebpf { 5 } else { 2 };
        assert_eq!(group.descriptors().len(), expected, "{balance:?}");
        clients.extend(connect(&group, 100));
        let after = counts(&mut group, &left);
        assert_eq!(after.iter().sum::<usize>(), 100, "{balance:?}");
        assert!(after.iter().all(|n| *n > 0), "{balance:?} {after:?}");
    }
}

#[test]
fn a_new_slot_takes_over_the_socket_of_a_retired_one() {
    let mut group = group(Balance::Rr, 2);
    group.retire(SlotId(0));
    let before = group.descriptors().len();
    group.socket(SlotId(7)).expect("a socket");
    group.set_live(SlotId(7), true);
    assert_eq!(group.descriptors().len(), before);
    assert_eq!(group.patrol(now(0)).again, None, "nothing is to be closed any more");
}

#[test]
fn scaling_up_and_down_in_any_order_keeps_the_numbering() {
    // Classic programs and the shortest-queue one address sockets by the kernel's numbering: it must survive
    // closing from the middle.
    for balance in [Balance::Random, Balance::Auto] {
        scale_up_and_down(group(balance, 5));
    }
}

fn scale_up_and_down(mut group: Group) {
    for slot in [1, 3] {
        group.retire(SlotId(slot));
    }
    let again = group.patrol(now(0)).again.expect("a time");
    group.patrol(again);
    group.socket(SlotId(9)).expect("a socket");
    group.set_live(SlotId(9), true);
    let left = [0, 2, 4, 9].map(SlotId);
    for only in left {
        for slot in left {
            group.set_weight(slot, u32::from(slot == only));
        }
        let _clients = connect(&group, 20);
        let counts = counts(&mut group, &left);
        let expected = left.map(|slot| if slot == only { 20 } else { 0 });
        assert_eq!(counts, expected);
    }
    for slot in left {
        group.set_weight(slot, 1);
    }
    if group.selection().selector == Selector::EbpfShortest {
        let _clients = connect(&group, 40);
        assert_eq!(counts(&mut group, &left), [10; 4]);
    }
}

fn dup_all(group: &Group) -> Vec<OwnedFd> {
    group.descriptors().iter().map(|fd| fd.try_clone_to_owned().expect("dup")).collect()
}

#[test]
fn a_group_survives_its_daemon() {
    for balance in [
        Balance::Auto,
        Balance::Rr,
        Balance::Least,
        Balance::Random,
        Balance::Ip,
        Balance::Shared,
        Balance::Ipc,
    ] {
        let mut before = group(balance, 3);
        before.set_weight(SlotId(2), 5);
        let clients = connect(&before, 30);
        assert!(before.take_changed());
        let (note, kept) = (before.note(), dup_all(&before));
        let (address, selection) = (before.address().clone(), before.selection());
        drop(before);
        let meanwhile =
            TcpStream::connect(("127.0.0.1", address.port().expect("a port"))).expect("listening");

        let mut after = Group::adopt(&note, kept).expect("our own note");
        assert!(!after.take_changed());
        assert_eq!((after.address(), after.selection()), (&address, selection));
        assert_eq!(after.note(), note);
        for slot in slots(3) {
            after.set_live(slot, true);
        }
        let more = connect(&after, 30);
        let one = matches!(balance, Balance::Shared | Balance::Ipc);
        let asked = if one { slots(1) } else { slots(3) };
        assert_eq!(counts(&mut after, &asked).iter().sum::<usize>(), 61, "{balance:?}");
        drop((clients, meanwhile, more));
    }
}

#[test]
fn a_daemon_that_comes_back_without_privileges_steers_by_classic_bpf() {
    if !is_root() {
        return;
    }
    let before = group(Balance::Rr, 2);
    let (note, kept) = (before.note(), dup_all(&before));
    drop(before);
    unprivileged(|| {
        let mut after = Group::adopt(&note, kept).expect("our own note");
        after.set_live(SlotId(1), true);
        let _clients = connect(&after, 20);
        assert_eq!(counts(&mut after, &slots(2)), [0, 20], "{:?}", after.selection());
    });
}

#[test]
fn a_note_that_does_not_fit_is_refused_with_a_reason() {
    let group = group(Balance::Rr, 2);
    let mut fds = dup_all(&group);
    fds.pop();
    let error = Group::adopt(&group.note(), fds).expect_err("one is missing");
    assert!(matches!(error, AdoptError::Descriptors { .. }), "{error}");
    assert!(matches!(Group::adopt(b"{}", dup_all(&group)), Err(AdoptError::Note(_))));
    assert!(matches!(Group::adopt(&group.note(), Vec::new()), Err(AdoptError::Descriptors { found: 0, .. })));
}

#[test]
fn one_socket_for_all_serves_every_slot() {
    let mut group = group(Balance::Shared, 3);
    assert_eq!(group.selection().selector, Selector::Shared);
    let _clients = connect(&group, 9);
    assert_eq!(counts(&mut group, &slots(3)), [9, 0, 0]);
    assert_eq!(group.patrol(now(0)).again, None);
}

#[test]
fn ipc_gives_each_connection_to_the_slot_with_the_fewest_unacknowledged() {
    let mut group = group(Balance::Ipc, 3);
    group.set_load(SlotId(1), 10);
    let _clients = connect(&group, 6);
    let moves = group.patrol(now(0)).moves;
    let to: Vec<u32> = moves.iter().map(|m| m.to.0).collect();
    assert_eq!(to.iter().filter(|to| **to == 0).count(), 3, "{to:?}");
    assert_eq!(to.iter().filter(|to| **to == 2).count(), 3, "{to:?}");
    for slot in slots(3) {
        group.set_live(slot, false);
    }
    let _more = connect(&group, 2);
    assert!(group.patrol(now(1)).moves.is_empty(), "they wait in the kernel");
    group.set_live(SlotId(0), true);
    assert_eq!(group.patrol(now(2)).moves.len(), 2);
}

#[test]
fn a_refused_connection_goes_to_another_slot() {
    let mut group = group(Balance::Auto, 3);
    let except = [SlotId(1)];
    let picked: Vec<_> = (0..4).map(|_| group.pick(&except).expect("two are left")).collect();
    assert!(picked.contains(&SlotId(0)) && picked.contains(&SlotId(2)) && !picked.contains(&SlotId(1)));
    assert_eq!(group.pick(&slots(3)), None);
}

#[test]
fn a_listener_that_a_program_shut_down_listens_again_after_a_patrol() {
    let mut group = group(Balance::Rr, 2);
    let lent = group.socket(SlotId(0)).expect("known").try_clone_to_owned().expect("dup");
    rustix::net::shutdown(&lent, rustix::net::Shutdown::Both).expect("what Python's socketserver does");
    group.patrol(now(0));
    let _clients = connect(&group, 40);
    let counts = counts(&mut group, &slots(2));
    assert_eq!(counts.iter().sum::<usize>(), 40);
    assert!(counts[0] > 0, "{counts:?}");
}

#[test]
fn a_backlog_that_a_program_cut_is_restored_by_a_patrol() {
    let mut group = group(Balance::Rr, 2);
    let lent = group.socket(SlotId(0)).expect("known").try_clone_to_owned().expect("dup");
    let limit = |group: &Group| group.queues()[0].1.expect("a TCP queue").limit;
    let before = limit(&group);
    skep_sys::net::listen(&lent, 5).expect("what Python's http.server does");
    assert_eq!(limit(&group), 5);
    group.patrol(now(0));
    assert_eq!(limit(&group), before);
}

#[test]
fn without_hand_over_queues_stay_and_new_connections_go_elsewhere() {
    let options = Options { transfer: Transfer::Nothing, ..options(Balance::Rr) };
    let mut group = Group::open(&tcp(LOCALHOST, 0), &options).expect("a free port");
    for slot in slots(2) {
        group.socket(slot).expect("a socket");
        group.set_live(slot, true);
    }
    let _clients = connect(&group, 2);
    // Slot 1 accepts, slot 0 does not.
    counts(&mut group, &[SlotId(1)]);
    group.patrol(now(0));
    assert!(group.patrol(now(5)).moves.is_empty());
    let _more = connect(&group, 10);
    assert_eq!(counts(&mut group, &slots(2)), [1, 10]);
}

#[test]
fn without_hand_over_the_kernel_gives_the_queue_of_a_retired_slot_to_the_others() {
    let options = Options { transfer: Transfer::Nothing, ..options(Balance::Rr) };
    let mut group = Group::open(&tcp(LOCALHOST, 0), &options).expect("a free port");
    for slot in slots(3) {
        group.socket(slot).expect("a socket");
        group.set_live(slot, true);
    }
    if group.selection().selector != Selector::EbpfRr {
        return; // Without eBPF such a worker empties its queue before it goes.
    }
    let _clients = connect(&group, 30);
    group.set_live(SlotId(1), false);
    group.retire(SlotId(1));
    assert!(group.patrol(now(0)).moves.is_empty());
    assert_eq!(counts(&mut group, &[SlotId(0), SlotId(2)]), [15, 15]);
    let _more = connect(&group, 10);
    assert_eq!(counts(&mut group, &[SlotId(0), SlotId(2)]), [5, 5]);
}
