use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use skep_sys::spawn::Stage;
use skep_sys::wait::ExitStatus;

use super::tlv::Writer;
use super::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        any::<i32>().prop_map(ExitStatus::Code),
        Just(ExitStatus::Unknown),
        (any::<i32>(), any::<bool>())
            .prop_map(|(signal, core_dumped)| ExitStatus::Signal { signal, core_dumped }),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    (0..Stage::ALL.len()).prop_map(|index| Stage::ALL[index])
}

fn source() -> impl Strategy<Value = FdSource> {
    prop_oneof![
        Just(FdSource::Attached),
        Just(FdSource::Null),
        (bytes(), any::<u32>()).prop_map(|(key, index)| FdSource::Stored { key, index }),
    ]
}

fn credentials() -> impl Strategy<Value = Credentials> {
    (any::<u32>(), any::<u32>(), vec(any::<u32>(), 0..5)).prop_map(|(uid, gid, groups)| Credentials {
        uid,
        gid,
        groups,
    })
}

prop_compose! {
    fn limit()(resource in any::<u32>(), soft in any::<u64>(), hard in any::<u64>()) -> Limit {
        Limit { resource, soft, hard }
    }
}

prop_compose! {
    fn spawn()(
        (child, note, cwd) in (any::<u64>(), bytes(), bytes()),
        argv in vec(bytes(), 1..5),
        env in vec(bytes(), 0..5),
        credentials in option::of(credentials()),
        (umask, nice) in (option::of(any::<u32>()), option::of(any::<i32>())),
        limits in vec(limit(), 0..3),
        (no_new_privileges, bind_share, kill_tree) in any::<(bool, bool, bool)>(),
        (signal, grace_ms) in any::<(i32, u64)>(),
        fds in vec((any::<i32>(), source()), 0..5),
    ) -> Spawn {
        Spawn {
            child, note, argv, env, cwd, credentials, umask, limits, nice, no_new_privileges, bind_share, kill_tree,
            stop: Stop { signal, grace_ms }, fds,
        }
    }
}

prop_compose! {
    fn adopt()(
        (child, pid, start_time) in any::<(u64, i32, u64)>(),
        note in bytes(),
        kill_tree in any::<bool>(),
        (signal, grace_ms) in any::<(i32, u64)>(),
    ) -> Adopt {
        Adopt { child, note, pid, start_time, kill_tree, stop: Stop { signal, grace_ms } }
    }
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Queue), Just(Origin::Attached), Just(Origin::Kept)]
}

fn passed() -> impl Strategy<Value = Passed> {
    let failed = any::<i32>().prop_map(Passed::Failed);
    prop_oneof![Just(Passed::Sent), Just(Passed::Full), Just(Passed::Gone), Just(Passed::Nothing), failed]
}

fn request() -> impl Strategy<Value = Request> {
    let scope = prop_oneof![Just(Scope::Process), Just(Scope::Group), Just(Scope::Tree)];
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(version, oldest)| Request::Hello { version, oldest }),
        spawn().prop_map(|spawn| Request::Spawn(Box::new(spawn))),
        adopt().prop_map(|adopt| Request::Adopt(Box::new(adopt))),
        (any::<u64>(), any::<i32>(), scope).prop_map(|(child, signal, scope)| Request::Signal {
            child,
            signal,
            scope
        }),
        any::<u64>().prop_map(|child| Request::Forget { child }),
        (bytes(), bytes()).prop_map(|(key, note)| Request::Store { key, note }),
        bytes().prop_map(|key| Request::Drop { key }),
        (any::<u64>(), bytes(), bytes(), bytes(), origin()).prop_map(|(ticket, key, note, line, from)| {
            Request::Pass(Box::new(Pass { ticket, key, note, line, from }))
        }),
        Just(Request::Shutdown),
        any::<i32>().prop_map(|signal| Request::Handled { signal }),
        bytes().prop_map(|path| Request::Upgrade { path }),
    ]
}

fn state() -> impl Strategy<Value = ChildState> {
    prop_oneof![
        Just(ChildState::Starting),
        any::<(i32, u64)>().prop_map(|(pid, start_time)| ChildState::Running { pid, start_time }),
        (any::<i32>(), status()).prop_map(|(pid, status)| ChildState::Exited { pid, status }),
        (stage(), any::<i32>()).prop_map(|(stage, errno)| ChildState::Failed { stage, errno }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (any::<u32>(), any::<i32>(), any::<u64>(), bytes(), any::<(u64, u64)>()).prop_map(
            |(version, keeper, generation, build, descriptor_limit)| {
                Reply::Welcome { version, keeper, generation, build, descriptor_limit }
            }
        ),
        (any::<u64>(), bytes(), state()).prop_map(|(child, note, state)| Reply::Child { child, note, state }),
        (bytes(), bytes()).prop_map(|(key, note)| Reply::Stored { key, note }),
        Just(Reply::InventoryEnd),
        any::<(u64, i32, u64)>().prop_map(|(child, pid, start_time)| Reply::Spawned {
            child,
            pid,
            start_time
        }),
        (any::<u64>(), stage(), any::<i32>()).prop_map(|(child, stage, errno)| Reply::SpawnFailed {
            child,
            stage,
            errno
        }),
        (any::<u64>(), status()).prop_map(|(child, status)| Reply::Exited { child, status }),
        any::<(u64, i32)>().prop_map(|(child, errno)| Reply::SignalFailed { child, errno }),
        (bytes(), any::<i32>()).prop_map(|(key, errno)| Reply::StoreFailed { key, errno }),
        (any::<u64>(), passed()).prop_map(|(ticket, outcome)| Reply::Passed { ticket, outcome }),
        any::<i32>().prop_map(|signal| Reply::Signal { signal }),
        bytes().prop_map(|build| Reply::Upgraded { build }),
        bytes().prop_map(|reason| Reply::UpgradeFailed { reason }),
        (any::<u16>(), bytes()).prop_map(|(kind, reason)| Reply::Unknown { kind, reason }),
    ]
}

/// A field that nobody knows, as a newer version may send it.
fn unknown_field() -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(60_000, b"from the future");
    out.into_bytes()
}

proptest! {
    #[test]
    fn a_request_survives_its_encoding_and_unknown_fields(request in request()) {
        let (kind, mut payload) = request.encode();
        prop_assert_eq!(&Request::decode(kind, &payload).expect("decodes"), &request);
        payload.extend(unknown_field());
        prop_assert_eq!(Request::decode(kind, &payload).expect("decodes"), request);
    }

    #[test]
    fn a_reply_survives_its_encoding_and_unknown_fields(reply in reply()) {
        let (kind, mut payload) = reply.encode();
        prop_assert_eq!(&Reply::decode(kind, &payload).expect("decodes"), &reply);
        payload.extend(unknown_field());
        prop_assert_eq!(Reply::decode(kind, &payload).expect("decodes"), reply);
    }

    #[test]
    fn garbage_never_panics(kind in 0_u16..20, payload in vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(kind, &payload);
        let _ = Reply::decode(kind, &payload);
    }

    #[test]
    fn a_damaged_message_never_panics(request in request(), reply in reply(), place: usize, value: u8, cut: usize) {
        for (kind, mut payload) in [request.encode(), reply.encode()] {
            if !payload.is_empty() {
                let length = payload.len();
                payload[place % length] = value;
                payload.truncate(cut % (length + 1));
            }
            let _ = Request::decode(kind, &payload);
            let _ = Reply::decode(kind, &payload);
        }
    }
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    assert_eq!(Request::decode(4, &[]), Err(Malformed::Missing { tag: tag::CHILD }));
    assert_eq!(Request::decode(999, &[]), Err(Malformed::UnknownKind { kind: 999 }));
    assert_eq!(Request::decode(4, &[1, 0, 200]), Err(Malformed::CutOff));
    assert_eq!(Request::decode(4, &[1, 0, 1, 0, 0, 0, 9]), Err(Malformed::BadValue { tag: tag::CHILD }));
}
