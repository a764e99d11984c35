-- Tells how far a process has come in the change log, and what came after that. Whoever asks is listed from
-- then on, so that others wait for it.
-- KEYS: change log, replicas, the store's name. ARGV: the process; how long its leases are, in milliseconds; a
-- number that no earlier call had; the id and the call of the entry up to which all is applied (no id: it begins
-- to follow); the name of the store that it followed at first, or nothing; a new name for the store; how many
-- entries at most. From who begins to follow, also: the name of the store in which it met others, if that still has
-- all that it had, and these. The number comes back with the answer.
local log, replicas, store = unpack(KEYS)
local replica, term, number, id, call, known, name, most = unpack(ARGV)

local function come_to(place)
  redis.call('HSET', replicas, replica, place .. ' ' .. term .. ' ' .. number)
end

-- Where this process runs now, the one that ran there before does not.
local function take_its_place()
  local place = string.match(replica, '@.*$')
  for _, other in ipairs(redis.call('HKEYS', replicas)) do
    if other ~= replica and string.match(other, '@.*$') == place
      and string.match(redis.call('HGET', replicas, other), '^away ') then
      redis.call('HDEL', replicas, other)
    end
  end
end

-- Those whom this process met before the store lost its list may be cut off, and accept session tokens all the
-- same: nobody may take them for gone.
local function list_as_away()
  local taken = {}
  for _, other in ipairs(redis.call('HKEYS', replicas)) do
    taken[string.match(other, '@.*$') or ''] = true
  end
  taken[string.match(replica, '@.*$') or ''] = true
  for i = 10, #ARGV do
    if not taken[string.match(ARGV[i], '@.*$') or ''] then
      redis.call('HSET', replicas, ARGV[i], 'away ' .. redis.call('TIME')[1])
    end
  end
end

if id == '' then
  take_its_place()
  redis.call('SET', store, name, 'NX')
  if ARGV[9] ~= redis.call('GET', store) then
    list_as_away()
  end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  -- Only its next call says that it has taken over what is refused here.
  come_to('0-0')
  return { 'joined', redis.call('GET', store), last and (last[1] .. ' ' .. last[2][2]) or '0-0 ', {}, redis.call('HKEYS', replicas), number }
end

local entries
if id == '0-0' then
  -- Nothing in the log could show that it is the same.
  if (redis.call('GET', store) or '') ~= known then
    return { 'lost', '', '', {}, {}, number }
  end
  entries = redis.call('XRANGE', log, '-', '+', 'COUNT', most)
else
  entries = redis.call('XRANGE', log, id, '+', 'COUNT', most + 1)
  local held = table.remove(entries, 1)
  if not held or held[1] ~= id or held[2][2] ~= call then
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    local function parts(place)
      local millis, nth = string.match(place, '^(%d+)-(%d+)$')
      return tonumber(millis), tonumber(nth)
    end
    local millis, nth = parts(id)
    local first, its = 0, 0
    if oldest then
      first, its = parts(oldest[1])
    end
    local trimmed = first > millis or (first == millis and its > nth)
    return { trimmed and 'trimmed' or 'lost', '', '', {}, {}, number }
  end
end
come_to(id)
local more = #entries == tonumber(most)
return { more and 'more' or 'follows', '', '', entries, redis.call('HKEYS', replicas), number }
