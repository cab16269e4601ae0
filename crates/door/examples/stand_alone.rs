//! The door on a store of its own, without skep: `stand_alone FOLDER SOCKET`. For tests and for trying it by hand.

use std::os::unix::net::UnixListener;
use std::path::Path;

use skep_state::{Options, Supervisor, WallMs};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(socket)) = (args.next(), args.next()) else {
        return Err(std::io::Error::other("usage: stand_alone FOLDER SOCKET"));
    };
    let now = WallMs(skep_sys::clock::wall_ns() / 1_000_000);
    let _supervisor =
        Supervisor::open(Path::new(&folder), &Options::default(), now).map_err(std::io::Error::other)?;
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    skep_door::serve(skep_door::Options {
        store: folder.into(),
        unix: vec![listener.into()],
        tcp: Vec::new(),
        password: None,
    })
}
