//! The Lua machine: compiled scripts, and how one runs inside of a transaction.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use sha1::{Digest, Sha1};
use skep_state::{Error, Space};

use crate::call::{Access, Call, From};
use crate::exec;
use crate::fault::{Done, Fault, say, text};
use crate::limits::{SCRIPT_BYTES_MAX, SCRIPT_MS_MAX, SCRIPTS_MAX};
use crate::lua::{convert, sandbox};
use crate::resp::Reply;
use crate::table::Flags;

/// How often a script is asked whether its time is over, in instructions of the machine: a few microseconds.
const CLOCK_EVERY: u32 = 10_000;
/// Calls deep that a position in the script is looked for.
const STACK_MAX: usize = 64;

/// A script by its SHA-1 in hexadecimal.
#[derive(Debug, Clone)]
struct Script {
    function: Function,
    /// It said of itself that it changes nothing.
    no_writes: bool,
    lines: usize,
}

/// The Lua machine.
#[derive(Debug)]
pub(crate) struct Scripts {
    lua: Lua,
    parts: sandbox::Parts,
    xpcall: Function,
    handler: Function,
    known: RefCell<HashMap<String, Script>>,
    order: RefCell<VecDeque<String>>,
    /// When the running script has to be done: nanoseconds since boot.
    deadline_ns: Rc<Cell<u64>>,
}

/// What a run may do, and what came of it.
struct Run {
    read_only: bool,
    resp3: bool,
    /// The store failed: the whole transaction is given up.
    fatal: Option<Error>,
}

pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Scripts {
    pub(crate) fn new() -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_memory_limit(SCRIPT_BYTES_MAX)?;
        let deadline_ns = Rc::new(Cell::new(u64::MAX));
        let until = Rc::clone(&deadline_ns);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(CLOCK_EVERY), move |_, _| {
            if skep_sys::clock::boottime_ns() > until.get() {
                return Err(mlua::Error::runtime("the script took too long"));
            }
            Ok(VmState::Continue)
        })?;
        let xpcall = lua.globals().get("xpcall")?;
        let handler = lua.create_function(|lua, error: Value| with_position(lua, error))?;
        let parts = sandbox::build(&lua)?;
        let until = Rc::clone(&deadline_ns);
        let late = lua.create_function(move |_, ()| Ok(skep_sys::clock::boottime_ns() > until.get()))?;
        parts.hooks.raw_set("late", late)?;
        Ok(Self {
            lua,
            parts,
            xpcall,
            handler,
            known: RefCell::default(),
            order: RefCell::default(),
            deadline_ns,
        })
    }

    pub(crate) fn knows(&self, sha: &str) -> bool {
        self.known.borrow().contains_key(sha)
    }

    /// Compiles a script; its SHA-1.
    pub(crate) fn load(&self, source: &[u8]) -> Result<String, Fault> {
        let sha = sha1_hex(source);
        if self.knows(&sha) {
            return Ok(sha);
        }
        let (body, no_writes) = shebang(source)?;
        let chunk = self.lua.load(body.as_slice()).set_name("@user_script").set_mode(mlua::ChunkMode::Text);
        let function =
            chunk.set_environment(self.parts.globals.clone()).into_function().map_err(|error| {
                let text = match &error {
                    mlua::Error::SyntaxError { message, .. } => message.clone(),
                    other => other.to_string(),
                };
                say(format!("ERR Error compiling script (new function): {text}"))
            })?;
        let lines = source.iter().filter(|byte| **byte == b'\n').count() + 1;
        self.known.borrow_mut().insert(sha.clone(), Script { function, no_writes, lines });
        let mut order = self.order.borrow_mut();
        order.push_back(sha.clone());
        if order.len() > SCRIPTS_MAX {
            let mut known = self.known.borrow_mut();
            for old in order.drain(..SCRIPTS_MAX / 2) {
                known.remove(&old);
            }
        }
        Ok(sha)
    }

    /// Runs a loaded script for a call (EVAL and its kin) with these keys and arguments.
    pub(crate) fn run(
        &self,
        c: &mut Call<'_, '_>,
        sha: &str,
        keys: &[&[u8]],
        args: &[&[u8]],
        read_only: bool,
    ) -> Done {
        let script = self.known.borrow().get(sha).cloned();
        let script = script.ok_or(text("NOSCRIPT No matching script. Please use EVAL."))?;
        let run = RefCell::new(Run { read_only: read_only || script.no_writes, resp3: false, fatal: None });
        let deadline = skep_sys::clock::boottime_ns() + SCRIPT_MS_MAX * 1_000_000;
        self.deadline_ns.set(deadline);
        // The script's SELECT is its own.
        let database = c.client.database;
        let outcome = self.run_in_scope(c, &script.function, keys, args, &run);
        c.client.database = database;
        self.deadline_ns.set(u64::MAX);
        let late = skep_sys::clock::boottime_ns() > deadline;
        let run = run.into_inner();
        if let Some(error) = run.fatal {
            return Err(error.into());
        }
        if late {
            c.door.undone = Some(format!(
                "BUSY the script ran for over {SCRIPT_MS_MAX} ms, in which nobody else can write: it was stopped and what it did was undone"
            ));
            return Err(Error::TooMuch { most: 0 }.into());
        }
        let (fine, value) = outcome.map_err(|error| say(format!("ERR {error}")))?;
        if fine {
            convert::write(c.out, &value, run.resp3, 0).map_err(|error| say(format!("ERR {error}")))
        } else {
            Err(say(failure(&value, sha, script.lines)))
        }
    }

    fn run_in_scope(
        &self,
        c: &mut Call<'_, '_>,
        function: &Function,
        keys: &[&[u8]],
        args: &[&[u8]],
        run: &RefCell<Run>,
    ) -> mlua::Result<(bool, Value)> {
        self.parts.real.raw_set("KEYS", self.strings(keys)?)?;
        self.parts.real.raw_set("ARGV", self.strings(args)?)?;
        let call = RefCell::new(c);
        let result = self.lua.scope(|scope| {
            let raw = scope.create_function(|lua, words: MultiValue| {
                let mut call = call.try_borrow_mut().map_err(|_| mlua::Error::RecursiveMutCallback)?;
                let mut run = run.borrow_mut();
                command(lua, &mut call, &mut run, &words)
            })?;
            let setresp = scope.create_function(|_, version: i64| {
                run.borrow_mut().resp3 = version == 3;
                Ok(())
            })?;
            self.parts.hooks.raw_set("raw", raw)?;
            self.parts.hooks.raw_set("setresp", setresp)?;
            self.xpcall.call::<(bool, Value)>((function.clone(), self.handler.clone()))
        });
        self.parts.hooks.raw_set("raw", Value::Nil)?;
        self.parts.hooks.raw_set("setresp", Value::Nil)?;
        result
    }

    fn strings(&self, list: &[&[u8]]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(list.len(), 0)?;
        for (index, text) in list.iter().enumerate() {
            table.raw_set(index + 1, self.lua.create_string(text)?)?;
        }
        Ok(table)
    }
}

/// The script without its first line when that is `#!lua flags=…`, and whether it is read-only.
fn shebang(source: &[u8]) -> Result<(Vec<u8>, bool), Fault> {
    if !source.starts_with(b"#!") {
        return Ok((source.to_vec(), false));
    }
    let end = source.iter().position(|byte| *byte == b'\n').ok_or(text("ERR Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&source[2..end]).into_owned();
    let mut words = line.split_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(say(format!("ERR Unexpected engine in script shebang: #!{engine}")));
    }
    let mut no_writes = false;
    for word in words {
        let flags = word
            .strip_prefix("flags=")
            .ok_or_else(|| say(format!("ERR Unknown lua shebang option: {word}")))?;
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "no-writes" => no_writes = true,
                "allow-oom" | "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => return Err(say(format!("ERR Unexpected flag in script shebang: {flag}"))),
            }
        }
    }
    // The line end stays, so that errors name the right line.
    Ok((source[end..].to_vec(), no_writes))
}

/// `redis.call` and `redis.pcall`: the answer, and whether it is an error.
fn command(
    lua: &Lua,
    c: &mut Call<'_, '_>,
    run: &mut Run,
    words: &MultiValue,
) -> mlua::Result<(Value, bool)> {
    let mut owned: Vec<Vec<u8>> = Vec::with_capacity(words.len());
    for word in words {
        match convert::argument(word) {
            Some(word) => owned.push(word),
            None => return refuse(lua, "ERR Lua redis lib command arguments must be strings or integers"),
        }
    }
    if owned.is_empty() {
        return refuse(lua, "ERR Please specify at least one argument for this redis lib call");
    }
    let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
    let Some(command) = c.door.table.find(args[0]) else {
        return refuse(lua, "ERR Unknown Redis command called from script");
    };
    if !command.takes(args.len()) {
        return refuse(lua, "ERR Wrong number of args calling Redis command from script");
    }
    if command.flags.has(Flags::NO_SCRIPT) {
        return refuse(lua, "ERR This Redis command is not allowed from script");
    }
    if run.read_only && command.flags.has(Flags::WRITE) {
        return refuse(lua, "ERR Write commands are not allowed from read-only scripts.");
    }
    if matches!(command.name, "xread" | "xreadgroup")
        && args.iter().any(|word| word.eq_ignore_ascii_case(b"block"))
    {
        return refuse(
            lua,
            &format!("ERR {} command is not allowed with BLOCK option from scripts", command.name),
        );
    }
    if run.fatal.is_some() {
        return refuse(lua, "ERR the store failed before");
    }
    let mut out = Reply::new(run.resp3);
    let needs_store = command.flags.has(Flags::STORE);
    let access = if needs_store { c.access.again() } else { Access::None };
    let space = Space::database(c.client.database);
    let mut inner = Call {
        args: &args,
        access,
        out: &mut out,
        client: c.client,
        door: c.door,
        space,
        from: From::Script,
    };
    if let Err(error) = exec::run_one(&mut inner, command) {
        run.fatal = Some(error);
        return refuse(lua, "ERR the store failed");
    }
    convert::read(lua, &out.bytes)
}

fn refuse(lua: &Lua, text: &str) -> mlua::Result<(Value, bool)> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    Ok((Value::Table(table), true))
}

/// The error handler: every error becomes a table with `err`, and the place in the script where it happened.
fn with_position(lua: &Lua, error: Value) -> mlua::Result<Table> {
    let table = match error {
        Value::Table(table) => table,
        other => {
            let text = match &other {
                Value::Error(error) => convert::problem(error),
                other => other.to_string()?,
            };
            let table = lua.create_table()?;
            table.raw_set("err", format!("ERR {text}"))?;
            table
        }
    };
    for level in 1..STACK_MAX {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let own = source.source.as_deref() == Some("@user_script");
            own.then(|| debug.current_line()).flatten()
        });
        match found {
            None => break,
            Some(None) => {}
            Some(Some(line)) => {
                table.raw_set("line", line)?;
                break;
            }
        }
    }
    Ok(table)
}

/// What a client is told of a script that failed.
fn failure(value: &Value, sha: &str, lines: usize) -> String {
    let Value::Table(table) = value else { return format!("ERR unknown error script: {sha}") };
    let message = table.raw_get::<Value>("err").ok().and_then(|value| value.to_string().ok());
    let message = message.unwrap_or_else(|| "ERR unknown error".to_owned());
    match table.raw_get::<Option<i64>>("line") {
        Ok(Some(line)) => format!("{message} script: {sha}, on @user_script:{line}."),
        // `return redis.call(…)` leaves no trace of its line (a tail call); it is the last, mostly.
        _ if lines == 1 => format!("{message} script: {sha}, on @user_script:1."),
        _ => message,
    }
}
