-- Walks down a list, from a place on, and returns the places of keys that may be asked for, and the place to go
-- on from; none: the list is over. Reads only, and looks at no more than it is told to.
-- KEYS: list. ARGV: the place to begin behind, how many to look at, how many to return; then the conditions,
-- each empty where there is none: instance; text; standing ('revoked', 'open', or 'terms' where the key must
-- have a policy as well); unused since; and what the names of records and of last uses begin with.
local start, most, wanted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local instance, text, standing, since = unpack(ARGV, 4, 7)
local records, uses = ARGV[8], ARGV[9]
local ESCAPED = { ['%'] = '%25', [':'] = '%3A' }
-- A place is 8 bytes of time and 32 of hash, then the instance's name; what is searched follows a zero byte.
local FIXED, HEX = 40, string.rep('%02x', 32)

local function may_be_asked_for(member, own)
  local name = string.gsub(own, '[%%:]', ESCAPED) .. ':' .. string.format(HEX, string.byte(member, 9, FIXED))
  local ended, policy, used, created =
    unpack(redis.call('HMGET', records .. name, 'revoked_at', 'policy', 'last_used_at', 'created_at'))
  if standing == 'revoked' and not ended or standing ~= '' and standing ~= 'revoked' and ended then
    return false
  end
  if standing == 'terms' and (policy or '{}') == '{}' then
    return false
  end
  if since == '' then
    return true
  end
  local noted = string.match(redis.call('GET', uses .. name) or '', '^%d+')
  local last = noted or used or created
  return not last or tonumber(last) < tonumber(since)
end

local members = redis.call('ZRANGE', KEYS[1], start, '-', 'BYLEX', 'REV', 'LIMIT', 0, most)
local looks = standing ~= '' or since ~= ''
local places, place = {}, ''
for _, member in ipairs(members) do
  local stop = string.find(member, '\0', FIXED + 1, true) or #member + 1
  local own = string.sub(member, FIXED + 1, stop - 1)
  place = string.sub(member, 1, stop - 1)
  if (instance == '' or own == instance)
    and (text == '' or string.find(member, text, stop + 1, true))
    and (not looks or may_be_asked_for(member, own)) then
    places[#places + 1] = place
    if #places == wanted then
      return { places, place }
    end
  end
end
return { places, #members == most and place or '' }
