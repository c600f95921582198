"""What must happen at once in Redis, as scripts.

KEYS: the session's status hash, the run's stream. Both hold the session id as hash tag, so a cluster keeps them
together. The clock is Redis' own: processes need not agree on the time.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

BEGIN: Final = (
    """
-- ARGV: run, lease_ms, ttl_ms. 1 for the one who may produce.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
"""
    + _NOW
    + """
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'state', 'open', 'last', 0, 'dropped', 0, 'bytes', 0,
  'lease', ARGV[2], 'until', now + ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

APPEND: Final = (
    """
-- ARGV: run, writer, first number, max events, max bytes, ttl_ms, then type and data of each event.
local s = redis.call('HMGET', KEYS[1], 'run', 'state', 'last', 'dropped', 'bytes', 'lease', 'w:' .. ARGV[2])
if s[1] ~= ARGV[1] then return 'lost' end
if s[2] ~= 'open' then return 'ended' end
local last, dropped, bytes, seen = tonumber(s[3]), tonumber(s[4]), tonumber(s[5]), tonumber(s[7] or 0)
local first = tonumber(ARGV[3])
for i = 7, #ARGV, 2 do
  local n = first + (i - 7) / 2
  if n > seen then
    last, seen, bytes = last + 1, n, bytes + #ARGV[i] + #ARGV[i + 1]
    redis.call('XADD', KEYS[2], last .. '-0', 't', ARGV[i], 'd', ARGV[i + 1])
  end
end
local max_events, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
while (last - dropped > max_events or bytes > max_bytes) and last - dropped > 1 do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  dropped = dropped + 1
  bytes = bytes - #oldest[2][2] - #oldest[2][4]
  redis.call('XDEL', KEYS[2], oldest[1])
end
"""
    + _NOW
    + """
redis.call('HSET', KEYS[1], 'last', last, 'dropped', dropped, 'bytes', bytes, 'w:' .. ARGV[2], seen,
  'until', now + s[6])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 'ok'
"""
)

_TERMINAL: Final = """
local function terminal(last, kind, data, ttl)
  redis.call('XADD', KEYS[2], (last + 1) .. '-0', 'k', kind, 'd', data)
  redis.call('HSET', KEYS[1], 'state', kind, 'last', last + 1)
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
end
"""

FINISH: Final = (
    _TERMINAL
    + """
-- ARGV: run, kind, data, ttl_ms.
local s = redis.call('HMGET', KEYS[1], 'run', 'state', 'last')
if s[1] ~= ARGV[1] then return 'lost' end
if s[2] ~= 'open' then return 'ended' end
terminal(tonumber(s[3]), ARGV[2], ARGV[3], ARGV[4])
return 'ok'
"""
)

RENEW: Final = (
    _NOW
    + """
-- ARGV: run, ttl_ms.
local s = redis.call('HMGET', KEYS[1], 'run', 'state', 'lease')
if s[1] ~= ARGV[1] then return 'lost' end
if s[2] ~= 'open' then return 'ended' end
redis.call('HSET', KEYS[1], 'until', now + s[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 'ok'
"""
)

CHECK: Final = (
    _TERMINAL
    + _NOW
    + """
-- ARGV: run, data of the terminal for a lost producer, ttl_ms. The state after it; closes a run whose lease is over.
local s = redis.call('HMGET', KEYS[1], 'run', 'state', 'last', 'until')
if s[1] ~= ARGV[1] then return 'lost' end
if s[2] == 'open' and tonumber(s[4]) <= now then
  terminal(tonumber(s[3]), 'failed', ARGV[2], ARGV[3])
end
return s[2]
"""
)

ERASE: Final = """
-- ARGV: run, data of the terminal, ms. All goes; for those who follow, a terminal stays a while.
local s = redis.call('HMGET', KEYS[1], 'run', 'last')
if s[1] ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('XADD', KEYS[2], string.format('%d', s[2] + 1) .. '-0', 'k', 'failed', 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'
"""
