-- Forgets on which days before one keys were used, and returns the place of the last key that was looked at;
-- nothing: that was the last of all.
-- KEYS: list of all. ARGV: the place to begin behind, how many keys to look at, the first day that stays, and what
-- the names of keys' days begin with.
local start, most, first, days = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ESCAPED = { ['%'] = '%25', [':'] = '%3A' }
-- A place is 8 bytes of time and 32 of hash, then the instance's name; a zero byte ends it.
local FIXED, HEX, AT_ONCE = 40, string.rep('%02x', 32), 1000

local members = redis.call('ZRANGE', KEYS[1], start, '-', 'BYLEX', 'REV', 'LIMIT', 0, most)
local place = ''
for _, member in ipairs(members) do
  local stop = string.find(member, '\0', FIXED + 1, true) or #member + 1
  local instance = string.sub(member, FIXED + 1, stop - 1)
  place = string.sub(member, 1, stop - 1)
  local name = days .. string.gsub(instance, '[%%:]', ESCAPED) .. ':'
    .. string.format(HEX, string.byte(member, 9, FIXED))
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', name)) do
    local day = tonumber(string.match(field, '^(%d+):'))
    if day and day < first then
      old[#old + 1] = field
    end
  end
  for i = 1, #old, AT_ONCE do
    redis.call('HDEL', name, unpack(old, i, math.min(i + AT_ONCE - 1, #old)))
  end
end
return #members == most and place or ''
