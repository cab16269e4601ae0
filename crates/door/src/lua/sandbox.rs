//! What a script sees: Redis's libraries, no files, no processes, and globals that it cannot change.

use mlua::{Lua, Table, Value};

use crate::lua::{bits, json, pack, sha1_hex};

/// Tables that the machine works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The environment of scripts: empty, with `real` behind it.
    pub(crate) globals: Table,
    /// Where globals really are.
    pub(crate) real: Table,
    /// Where the running script's `raw` and `setresp` are.
    pub(crate) hooks: Table,
}

/// Of Lua's own globals, those that scripts may use (Redis's list).
const KEPT: [&str; 18] = [
    "assert",
    "collectgarbage",
    "error",
    "getmetatable",
    "ipairs",
    "loadstring",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
];

/// Written in Lua, so that an error is a table that `pcall` can look into.
const PRELUDE: &str = r#"
local hooks, real, env, sha1hex = ...
local raise, kind, text, loads, setenv, fence = error, type, tostring, loadstring, setfenv, setmetatable
local sub, find = string.sub, string.find
local redis = {}

function redis.call(...)
  local answer, failed = hooks.raw(...)
  if failed then raise(answer, 0) end
  return answer
end

function redis.pcall(...)
  local answer = hooks.raw(...)
  return answer
end

function redis.error_reply(message)
  if kind(message) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  if sub(message, 1, 1) == '-' then message = sub(message, 2) end
  if not find(message, ' ', 1, true) then message = 'ERR ' .. message end
  return { err = message }
end

function redis.status_reply(message)
  if kind(message) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { ok = message }
end

function redis.sha1hex(...)
  if select('#', ...) ~= 1 then raise('wrong number of arguments', 0) end
  return sha1hex(text((...)))
end

function redis.setresp(version)
  if version ~= 2 and version ~= 3 then raise('RESP version must be 2 or 3.', 0) end
  hooks.setresp(version)
end

function redis.log() end
function redis.replicate_commands() return true end
function redis.set_repl() end
function redis.breakpoint() return false end
function redis.debug() end
redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
redis.REPL_NONE, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_AOF, redis.REPL_ALL = 0, 1, 1, 2, 3
redis.REDIS_VERSION, redis.REDIS_VERSION_NUM = '7.0.15', 0x0007000f

-- An error inside of ours is a text with the place of the script, as one of a C function is.
local function told(problem, ...)
  if problem then raise(problem, 3) end
  return ...
end
for _, library in ipairs({ 'cjson', 'cmsgpack' }) do
  for name, f in pairs(real[library]) do
    if kind(f) == 'function' then
      real[library][name] = function(...) return told(f(...)) end
    end
  end
end

-- As Redis's own: an error table that is caught is its text. When the script's time is over nothing is caught any more.
local try, try_with, resume = pcall, xpcall, coroutine.resume
local function caught(fine, problem, ...)
  if fine then return fine, problem, ... end
  if hooks.late() then raise(problem, 0) end
  if kind(problem) == 'table' and kind(problem.err) == 'string' then problem = problem.err end
  if kind(problem) == 'userdata' then problem = text(problem) end
  return fine, problem
end
local function ended(fine, ...)
  if not fine and hooks.late() then raise((...), 0) end
  return fine, ...
end
real.pcall = function(...) return caught(try(...)) end
real.xpcall = function(...) return ended(try_with(...)) end
coroutine.resume = function(...) return ended(resume(...)) end

local function readonly() raise('Attempt to modify a readonly table', 2) end

-- A library that scripts can read and not change.
local function sealed(library)
  return fence({}, { __index = library, __newindex = readonly, __metatable = false })
end
for _, name in ipairs({ 'string', 'table', 'math', 'coroutine', 'cjson', 'cmsgpack', 'bit', 'os' }) do
  real[name] = sealed(real[name])
end
real.redis = sealed(redis)
real._G = env

real.loadstring = function(code, name)
  if kind(code) == 'string' and sub(code, 1, 1) == '\27' then return nil, 'binary chunks are not allowed' end
  local f, problem = loads(code, name)
  if f then setenv(f, env) end
  return f, problem
end

local plain = setmetatable
real.setmetatable = function(t, meta)
  if t == env or t == real._G then readonly() end
  return plain(t, meta)
end

fence(real, {
  __index = function(_, name)
    raise("Script attempted to access nonexistent global variable '" .. text(name) .. "'", 2)
  end,
})
fence(env, { __index = real, __newindex = readonly, __metatable = false })
"#;

pub(crate) fn build(lua: &Lua) -> mlua::Result<Parts> {
    let (all, real, globals, hooks) =
        (lua.globals(), lua.create_table()?, lua.create_table()?, lua.create_table()?);
    for name in KEPT {
        real.raw_set(name, all.raw_get::<Value>(name)?)?;
    }
    let string: Table = all.get("string")?;
    string.raw_set("dump", Value::Nil)?;
    for name in ["string", "table", "math", "coroutine"] {
        real.raw_set(name, all.raw_get::<Value>(name)?)?;
    }
    real.raw_set("_VERSION", "Lua 5.1")?;
    let os = lua.create_table()?;
    let clock = lua.create_function(|_, ()| {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    })?;
    os.raw_set("clock", clock)?;
    real.raw_set("os", os)?;
    real.raw_set("cjson", json::library(lua)?)?;
    real.raw_set("cmsgpack", pack::library(lua)?)?;
    real.raw_set("bit", bits::library(lua)?)?;
    let sha1 = lua.create_function(|_, text: mlua::String| Ok(sha1_hex(&text.as_bytes())))?;
    lua.load(PRELUDE).set_name("@redis").call::<()>((hooks.clone(), real.clone(), globals.clone(), sha1))?;
    // Methods of strings ("x"):rep(3) find the library through the strings' metatable; it must not be changed either.
    lua.load("getmetatable('').__metatable = false").exec()?;
    Ok(Parts { globals, real, hooks })
}
