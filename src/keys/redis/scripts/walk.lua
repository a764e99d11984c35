-- Walks down a list, from a place on, and returns the places of keys that may be asked for, and the place to go
-- on from; none: the list is over. Reads only, and looks at no more than it is told to.
-- KEYS: list. ARGV: the place to begin behind, how many to look at, how many to return; then the conditions,
-- each empty where there is none: instance; text; marks, one of which the key must have; unused since. Last,
-- what the names of last uses and of records begin with.
local start, most, wanted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local instance, text, marks, since, uses, records = unpack(ARGV, 4, 9)
local ESCAPED = { ['%'] = '%25', [':'] = '%3A' }
-- A place is 8 bytes of time and 32 of hash, then the instance's name. In the list of all keys a zero byte, the
-- key's mark and what is searched follow.
local FIXED, HEX = 40, string.rep('%02x', 32)

-- A key that was never used counts from its creation, and one of which that is not known is always meant.
local function is_unused(member, own)
  local name = string.gsub(own, '[%%:]', ESCAPED) .. ':' .. string.format(HEX, string.byte(member, 9, FIXED))
  local at = string.match(redis.call('GET', uses .. name) or '', '^%d+')
  if not at then
    local used, created = unpack(redis.call('HMGET', records .. name, 'last_used_at', 'created_at'))
    at = used or created
  end
  return not at or tonumber(at) < tonumber(since)
end

local members = redis.call('ZRANGE', KEYS[1], start, '-', 'BYLEX', 'REV', 'LIMIT', 0, most)
local places, place = {}, ''
for _, member in ipairs(members) do
  local stop = string.find(member, '\0', FIXED + 1, true) or #member + 1
  local own = string.sub(member, FIXED + 1, stop - 1)
  place = string.sub(member, 1, stop - 1)
  if (instance == '' or own == instance)
    and (marks == '' or string.find(marks, string.sub(member, stop + 1, stop + 1), 1, true))
    and (text == '' or string.find(member, text, stop + 2, true))
    and (since == '' or is_unused(member, own)) then
    places[#places + 1] = place
    if #places == wanted then
      return { places, place }
    end
  end
end
return { places, #members == most and place or '' }
