//! EVAL and SCRIPT.

use crate::call::{Call, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::{Done, Fault, SYNTAX, say, text};
use crate::numbers;

/// Keys and arguments.
type Words<'a> = (Vec<&'a [u8]>, Vec<&'a [u8]>);

fn words<'a>(args: &[&'a [u8]]) -> Result<Words<'a>, Fault> {
    let count = numbers::integer(args[2]).ok_or(crate::fault::NOT_AN_INTEGER)?;
    let count = usize::try_from(count).map_err(|_| text("ERR Number of keys can't be negative"))?;
    if count > args.len() - 3 {
        return Err(text("ERR Number of keys can't be greater than number of args"));
    }
    Ok((args[3..3 + count].to_vec(), args[3 + count..].to_vec()))
}

fn broken(error: &mlua::Error) -> Fault {
    say(format!("ERR the Lua machine cannot start: {error}"))
}

fn is_read_only(c: &Call<'_, '_>) -> bool {
    c.args[0].len() > 3 && is(&c.args[0][c.args[0].len() - 3..], "_ro")
}

pub(crate) fn eval(c: &mut Call<'_, '_>) -> Done {
    let (keys, args) = words(c.args)?;
    let scripts = c.door.scripts().map_err(|error| broken(&error))?;
    let sha = scripts.load(c.args[1])?;
    let read_only = is_read_only(c);
    scripts.run(c, &sha, &keys, &args, read_only)
}

pub(crate) fn evalsha(c: &mut Call<'_, '_>) -> Done {
    let (keys, args) = words(c.args)?;
    let sha = String::from_utf8_lossy(c.args[1]).to_lowercase();
    let scripts = c.door.scripts().map_err(|error| broken(&error))?;
    let read_only = is_read_only(c);
    scripts.run(c, &sha, &keys, &args, read_only)
}

pub(crate) fn script(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    let count = c.args.len();
    if is(word, "load") && count == 3 {
        let scripts = c.door.scripts().map_err(|error| broken(&error))?;
        let sha = scripts.load(c.args[2])?;
        c.out.text(&sha);
    } else if is(word, "exists") && count >= 3 {
        c.out.array(count - 2);
        for sha in &c.args[2..] {
            let sha = String::from_utf8_lossy(sha).to_lowercase();
            c.out.flag(c.door.has_scripts().is_some_and(|scripts| scripts.knows(&sha)));
        }
    } else if is(word, "flush") && count <= 3 {
        if c.args.get(2).is_some_and(|word| !is(word, "sync") && !is(word, "async")) {
            return Err(text("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
        }
        c.door.forget_scripts();
        c.out.ok();
    } else if is(word, "kill") && count == 2 {
        return Err(text("NOTBUSY No scripts in execution right now."));
    } else if is(word, "debug") && count == 3 {
        return Err(SYNTAX);
    } else if ["load", "exists", "flush", "kill", "debug"].iter().any(|known| is(word, known)) {
        return Err(subcommand_arity(c));
    } else {
        return Err(subcommand(c));
    }
    Ok(())
}
