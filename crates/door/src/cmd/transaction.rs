//! MULTI, EXEC, WATCH.

use skep_state::{Space, keys};

use crate::call::{Access, Call, From};
use crate::client::{Queue, Watched};
use crate::exec;
use crate::fault::{Done, text};

pub(crate) fn multi(c: &mut Call<'_, '_>) -> Done {
    if c.client.queue.is_some() {
        return Err(text("ERR MULTI calls can not be nested"));
    }
    c.client.queue = Some(Queue::default());
    c.out.ok();
    Ok(())
}

pub(crate) fn discard(c: &mut Call<'_, '_>) -> Done {
    if c.client.queue.take().is_none() {
        return Err(text("ERR DISCARD without MULTI"));
    }
    c.client.watched.clear();
    c.out.ok();
    Ok(())
}

pub(crate) fn watch(c: &mut Call<'_, '_>) -> Done {
    if c.client.queue.is_some() {
        return Err(text("ERR WATCH inside MULTI is not allowed"));
    }
    for key in &c.args[1..] {
        let version = keys::info(&c.access.view(), c.space, key)?.map(|info| info.version);
        let known = c.client.watched.iter().any(|watched| watched.space == c.space && watched.key == *key);
        if !known {
            c.client.watched.push(Watched { space: c.space, key: key.to_vec(), version });
        }
    }
    c.out.ok();
    Ok(())
}

pub(crate) fn unwatch(c: &mut Call<'_, '_>) -> Done {
    c.client.watched.clear();
    c.out.ok();
    Ok(())
}

/// Runs what was queued, in the transaction of the store that this command has. The queue is kept until that is done:
/// it may have to run again.
pub(crate) fn exec(c: &mut Call<'_, '_>) -> Done {
    let Some(queue) = c.client.queue.take() else { return Err(text("ERR EXEC without MULTI")) };
    let broken = queue.broken;
    let queue = c.client.executing.insert(queue);
    let commands = std::mem::take(&mut queue.commands);
    let done = if broken {
        Err(text("EXECABORT Transaction discarded because of previous errors."))
    } else {
        run(c, &commands)
    };
    if let Some(queue) = &mut c.client.executing {
        queue.commands = commands;
    }
    done
}

fn run(c: &mut Call<'_, '_>, commands: &[Vec<Vec<u8>>]) -> Done {
    for watched in &c.client.watched {
        let version = keys::info(&c.access.view(), watched.space, &watched.key)?.map(|info| info.version);
        if version != watched.version {
            c.out.null_array();
            return Ok(());
        }
    }
    c.out.array(commands.len());
    for words in commands {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some(command) = c.door.table.find(args[0]) else { continue };
        let needs_store = command.flags.has(crate::table::Flags::STORE);
        let access = if needs_store { c.access.again() } else { Access::None };
        let space = Space::database(c.client.database);
        let mut call =
            Call { args: &args, access, out: c.out, client: c.client, door: c.door, space, from: From::Exec };
        exec::run_one(&mut call, command)?;
    }
    Ok(())
}
