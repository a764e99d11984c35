-- What every change begins with: its entry in the audit chain. The entry's hash is made by the caller, for the
-- head that it expects; where another head is found, nothing is changed, and the caller makes it anew.
-- KEYS: head, chain, turn, change log. ARGV: the expected head; the entry's number, text and hash; the name of
-- this call; how often it came too late; what others who remember keys are told, or nothing. A script's own
-- KEYS and ARGV follow.
local expected, number, text, hash, call, late, news = unpack(ARGV, 1, 7)
local head = redis.call('GET', KEYS[1]) or ''
-- Whoever is further behind in the change log than this forgets everything instead.
local PATIENCE, TURN, LOGGED = 3, 250, 10000

-- The end of the change log is told, too: it is not before what this call has appended to it. Who had the turn and
-- needs it no more gives it back.
local function answer(outcome, list, value)
  if outcome ~= 'stale' and redis.call('GET', KEYS[3]) == call then
    redis.call('DEL', KEYS[3])
  end
  local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  local place = last and (last[1] .. ' ' .. last[2][2]) or '0-0 '
  return { outcome, list or {}, value or false, redis.call('GET', KEYS[1]) or '', place }
end

-- Whether this very call was done before, and its answer was lost: then its entry is where it would go.
local function repeated()
  local entry = head ~= expected and redis.call('XRANGE', KEYS[2], number, number)[1]
  return entry and entry[2][6] == call
end

-- Whether this call must wait. One that came too late again and again takes the turn for a moment, so that a
-- caller who is near cannot keep one who is far away from ever being in time.
local function stale()
  local turn = redis.call('GET', KEYS[3])
  if head == expected and (not turn or turn == call) then
    return false
  end
  if not turn and tonumber(late) >= PATIENCE then
    redis.call('SET', KEYS[3], call, 'PX', TURN)
  end
  return true
end

-- Comes before the change itself: a script that fails is not undone, and what is missing must not be the entry.
local function append(keys)
  redis.call('XADD', KEYS[2], number .. '-0', 'text', text, 'hash', hash, 'call', call)
  redis.call('SET', KEYS[1], number .. ' ' .. hash)
  redis.call('DEL', KEYS[3])
  if news ~= '' then
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', LOGGED, '*', 'call', call, 'news', news, 'keys', keys or '')
  end
end

