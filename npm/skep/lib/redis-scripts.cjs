'use strict'
// What the state does on Redis, each as one atomic script: [number of keys, Lua]. Times are the caller's clock in ms.
// A waiter or holder is `client\0request\0mode\0token\0since`; events go to the channel `skep:to:<client>`.

const WHO = `
local function part(who, n)
  local i = 1
  for piece in string.gmatch(who .. '\\0', '(.-)%z') do
    if i == n then return piece end
    i = i + 1
  end
end
local function tell(who, kind, ...)
  redis.call('PUBLISH', 'skep:to:' .. part(who, 1), table.concat({kind, part(who, 2), ...}, '\\0'))
end
`

// Holders: hash id -> `mode\0token\0since\0until`. Waiters: list `KEY\0w` of `id\0mode`, first come first.
const LOCK = WHO + `
local waiters = KEYS[1] .. '\\0w'
local function held(now)
  local all = redis.call('HGETALL', KEYS[1])
  local count, shared = 0, true
  for i = 1, #all, 2 do
    if tonumber(part(all[i + 1], 4)) <= now then
      redis.call('HDEL', KEYS[1], all[i])
      tell(all[i], 'lost')
    else
      count = count + 1
      if part(all[i + 1], 1) == 'x' then shared = false end
    end
  end
  return count, shared
end
local function grant(id, mode, now, lease)
  local time = redis.call('TIME')
  local token = tonumber(redis.call('GET', 'skep:fence') or '0') + 1
  token = math.max(token, time[1] * 1000000 + time[2])
  redis.call('SET', 'skep:fence', string.format('%.0f', token))
  redis.call('HSET', KEYS[1], id, table.concat({mode, string.format('%.0f', token), now, now + lease}, '\\0'))
  return token
end
local function next(now, lease)
  while true do
    local first = redis.call('LINDEX', waiters, 0)
    if not first then return end
    local count, shared = held(now)
    local mode = part(first, 3)
    if count > 0 and not (shared and mode == 's') then return end
    redis.call('LPOP', waiters)
    local id = part(first, 1) .. '\\0' .. part(first, 2)
    tell(id, 'lock', string.format('%.0f', grant(id, mode, now, lease)))
  end
end
`

// A job is a hash `KEY\0j<id>`; parts are sorted sets `KEY\0<part>`; waiting consumers the list `KEY\0w`.
const QUEUE = WHO + `
local function of(part) return KEYS[1] .. '\\0' .. part end
local function job(id) return KEYS[1] .. '\\0j' .. id end
local function tellOne()
  local who = redis.call('LPOP', of('w'))
  if who then tell(who, 'queue') end
end
local function order(id) return redis.call('HGET', job(id), 'order') end
local function mine(id, attempt)
  return redis.call('ZSCORE', of('a'), id) and redis.call('HGET', job(id), 'attempts') == attempt
end
local function push(data, priority, delay, retries, after, doubles, now)
  local id = redis.call('INCR', 'skep:jobs')
  local order = (255 - priority) * 35184372088832 + id
  redis.call('HSET', job(id), 'data', data, 'order', string.format('%.0f', order), 'attempts', 0, 'retries', retries,
    'after', after, 'doubles', doubles)
  if delay > 0 then redis.call('ZADD', of('d'), now + delay, id)
  else redis.call('ZADD', of('r'), order, id) end
  tellOne()
  return id
end
`

const VERSION = `
local function version(key)
  local value = redis.call('GET', key)
  return value and redis.sha1hex(value) or '0'
end
local function set(key, value, expires)
  if expires < 0 then redis.call('SET', key, value, 'KEEPTTL')
  elseif expires > 0 then redis.call('SET', key, value, 'PXAT', string.format('%.0f', expires))
  else redis.call('SET', key, value) end
end
`

module.exports = {
  Versioned: [1, `
local value = redis.call('GET', KEYS[1])
return {value, value and redis.sha1hex(value) or '0'}`],

  SetIfVersion: [1, VERSION + `
if version(KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then set(KEYS[1], ARGV[2], tonumber(ARGV[4])) else redis.call('DEL', KEYS[1]) end
return 1`],

  Atomic: [undefined, VERSION + QUEUE.replaceAll('KEYS[1]', 'KEYQ').replace(WHO, WHO + '\nlocal KEYQ\n') + `
local checks = tonumber(ARGV[1])
for i = 1, checks do
  if version(KEYS[i]) ~= ARGV[i + 1] then return 0 end
end
local at = checks + 2
for i = checks + 1, #KEYS do
  local kind, value, number = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  if kind == '0' then set(KEYS[i], value, number)
  elseif kind == '1' then redis.call('DEL', KEYS[i])
  else
    KEYQ = KEYS[i]
    push(value, 0, 0, 0, 0, 0, number)
  end
end
return 1`],

  Lock: [1, LOCK + `
local now, lease, busy = tonumber(ARGV[5]), tonumber(ARGV[4]), ARGV[3]
next(now, lease)
local count, shared = held(now)
if redis.call('LLEN', waiters) == 0 and (count == 0 or (shared and ARGV[2] == 's')) then
  return grant(ARGV[1], ARGV[2], now, lease)
end
if busy == '1' then return -1 end
if busy == '2' then
  local all = redis.call('HKEYS', KEYS[1])
  for i = 1, #all do tell(all[i], 'lost') end
  redis.call('DEL', KEYS[1])
  return grant(ARGV[1], ARGV[2], now, lease)
end
redis.call('RPUSH', waiters, ARGV[1] .. '\\0' .. ARGV[2] .. '\\0\\0' .. ARGV[5])
return 0`],

  LockNext: [1, LOCK + `
held(tonumber(ARGV[1]))
next(tonumber(ARGV[1]), tonumber(ARGV[2]))
return 1`],

  Renew: [1, LOCK + `
local has = redis.call('HGET', KEYS[1], ARGV[1])
if not has then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], table.concat({part(has, 1), part(has, 2), part(has, 3), ARGV[2]}, '\\0'))
return 1`],

  Unlock: [1, LOCK + `
local was = redis.call('HDEL', KEYS[1], ARGV[1])
next(tonumber(ARGV[2]), tonumber(ARGV[3]))
return was`],

  LockCancel: [1, LOCK + `
local all = redis.call('LRANGE', waiters, 0, -1)
for i = 1, #all do
  if part(all[i], 1) .. '\\0' .. part(all[i], 2) == ARGV[1] then
    redis.call('LREM', waiters, 1, all[i])
    next(tonumber(ARGV[2]), tonumber(ARGV[3]))
    return 1
  end
end
return 0`],

  LockView: [1, LOCK + `
local holders, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do holders[#holders + 1] = all[i] .. '\\0' .. all[i + 1] end
return {holders, redis.call('LRANGE', waiters, 0, -1)}`],

  Begin: [1, WHO + `
local now = tonumber(ARGV[3])
local f = redis.call('HMGET', KEYS[1], 'lease', 'until', 'token', 'fresh', 'refresh', 'stale', 'value')
local leased = f[1] and tonumber(f[2]) > now
local fresh = f[3] and tonumber(f[4]) > now
if fresh and (leased or tonumber(f[5]) > now) then return {'fresh', f[7]} end
if leased then
  redis.call('RPUSH', KEYS[1] .. '\\0w', ARGV[1])
  return {'wait', false, f[2]}
end
local time = redis.call('TIME')
local token = math.max(tonumber(redis.call('GET', 'skep:fence') or '0') + 1, time[1] * 1000000 + time[2])
token = string.format('%.0f', token)
redis.call('SET', 'skep:fence', token)
redis.call('HSET', KEYS[1], 'lease', token, 'until', now + tonumber(ARGV[2]))
if fresh then return {'refresh', f[7], token} end
if f[3] and tonumber(f[6]) > now then return {'fetch', f[7], token} end
return {'fetch', false, token}`],

  Land: [1, WHO + `
if redis.call('HGET', KEYS[1], 'lease') ~= ARGV[1] then return 0 end
local now, fresh, before, stale = tonumber(ARGV[6]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ms = function(n) return string.format('%.0f', n) end
redis.call('HDEL', KEYS[1], 'lease', 'until')
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'token', ARGV[1], 'fresh', ms(now + fresh),
  'refresh', ms(now + fresh - before), 'stale', ms(now + fresh + stale))
local all = redis.call('LRANGE', KEYS[1] .. '\\0w', 0, -1)
redis.call('DEL', KEYS[1] .. '\\0w')
for i = 1, #all do tell(all[i], 'landed', ARGV[1]) end
return 1`],

  Fail: [1, WHO + `
if redis.call('HGET', KEYS[1], 'lease') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'lease', 'until')
local all = redis.call('LRANGE', KEYS[1] .. '\\0w', 0, -1)
redis.call('DEL', KEYS[1] .. '\\0w')
for i = 1, #all do tell(all[i], 'failed', ARGV[2]) end
return 1`],

  Landed: [1, `
local f = redis.call('HMGET', KEYS[1], 'token', 'stale', 'value')
if not f[1] then return false end
if ARGV[1] == '0' then return tonumber(f[2]) > tonumber(ARGV[2]) and f[3] end
return tonumber(f[1]) >= tonumber(ARGV[1]) and f[3]`],

  Push: [1, QUEUE + `
return push(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]))`],

  Pop: [1, QUEUE + `
local now = tonumber(ARGV[3])
redis.call('LREM', of('w'), 0, ARGV[1])
for _, resting in ipairs({'d', 'a'}) do
  local due = redis.call('ZRANGEBYSCORE', of(resting), '-inf', now, 'LIMIT', 0, 16)
  for i = 1, #due do
    redis.call('ZREM', of(resting), due[i])
    local f = redis.call('HMGET', job(due[i]), 'attempts', 'retries')
    if tonumber(f[1]) > tonumber(f[2]) then redis.call('ZADD', of('x'), now, due[i])
    else redis.call('ZADD', of('r'), order(due[i]), due[i]) end
  end
end
local first = redis.call('ZPOPMIN', of('r'))[1]
if first then
  redis.call('ZADD', of('a'), now + tonumber(ARGV[2]), first)
  local attempt = redis.call('HINCRBY', job(first), 'attempts', 1)
  return {first, redis.call('HGET', job(first), 'data'), attempt}
end
redis.call('RPUSH', of('w'), ARGV[1])
local due = 0
for _, resting in ipairs({'d', 'a'}) do
  local at = redis.call('ZRANGE', of(resting), 0, 0, 'WITHSCORES')[2]
  if at and (due == 0 or tonumber(at) < due) then due = tonumber(at) end
end
return {string.format('%.0f', due)}`],

  Done: [1, QUEUE + `
if not mine(ARGV[1], ARGV[2]) then return 0 end
redis.call('ZREM', of('a'), ARGV[1])
redis.call('DEL', job(ARGV[1]))
return 1`],

  JobFailed: [1, QUEUE + `
local id, now = ARGV[1], tonumber(ARGV[7])
if not mine(id, ARGV[2]) then return 0 end
if tonumber(ARGV[4]) >= 0 then
  redis.call('HSET', job(id), 'retries', ARGV[4], 'after', ARGV[5], 'doubles', ARGV[6])
end
redis.call('ZREM', of('a'), id)
local f = redis.call('HMGET', job(id), 'attempts', 'retries', 'after', 'doubles')
if tonumber(f[1]) > tonumber(f[2]) then
  redis.call('HSET', job(id), 'error', ARGV[3])
  redis.call('ZADD', of('x'), now, id)
else
  local doublings = f[4] == '1' and math.min(tonumber(f[1]) - 1, 6) or 0
  redis.call('ZADD', of('d'), now + tonumber(f[3]) * 2 ^ doublings, id)
end
tellOne()
return 1`],

  Extend: [1, QUEUE + `
if not mine(ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', of('a'), ARGV[3], ARGV[1])
return 1`],

  Leave: [1, QUEUE + `
local all = redis.call('LRANGE', of('w'), 0, -1)
for i = 1, #all do
  if part(all[i], 1) == ARGV[1] then redis.call('LREM', of('w'), 0, all[i]) end
end
return 1`],

  View: [1, QUEUE + `
return {redis.call('ZCARD', of('r')), redis.call('ZCARD', of('d')), redis.call('ZCARD', of('a')),
  redis.call('ZCARD', of('x'))}`],

  Dead: [1, QUEUE + `
local flat, all = {}, redis.call('ZRANGE', of('x'), 0, tonumber(ARGV[1]) - 1)
for i = 1, #all do
  local f = redis.call('HMGET', job(all[i]), 'data', 'error')
  flat[#flat + 1], flat[#flat + 2], flat[#flat + 3] = all[i], f[1], f[2] or ''
end
return flat`],

  Revive: [1, QUEUE + `
local all = redis.call('ZRANGE', of('x'), 0, tonumber(ARGV[1]) - 1)
for i = 1, #all do
  redis.call('ZREM', of('x'), all[i])
  redis.call('HSET', job(all[i]), 'attempts', 0)
  redis.call('ZADD', of('r'), order(all[i]), all[i])
  tellOne()
end
return #all`],

  Consume: [1, `
local points, limit, window, block, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]),
  tonumber(ARGV[5])
local f = redis.call('HMGET', KEYS[1], 'used', 'until')
local used, ends = tonumber(f[1] or 0), tonumber(f[2] or (points == 0 and now or now + window))
if points ~= 0 then
  if points > 0 and used + points > limit and used <= limit and block > 0 then ends = now + block end
  used = math.max(used + points, 0)
  redis.call('HSET', KEYS[1], 'used', string.format('%.0f', used), 'until', string.format('%.0f', ends))
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', ends))
end
return {used <= limit and 1 or 0, used, math.max(limit - used, 0), math.max(ends - now, 0)}`]
}
