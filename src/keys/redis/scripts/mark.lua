-- Marks a key in the list of all keys: open, open on terms, or revoked.
local function mark(list, record, key, instance, new)
  local listed = redis.call('HGET', record, 'listed_at')
  if not listed then
    return
  end
  local function byte(pair)
    return string.char(tonumber(pair, 16))
  end
  local place = string.gsub(listed .. key, '%x%x', byte) .. instance
  local range = { '[' .. place .. '\0', '(' .. place .. '\1' }
  local member = redis.call('ZRANGE', list, range[1], range[2], 'BYLEX', 'LIMIT', 0, 1)[1]
  if member then
    redis.call('ZREM', list, member)
    redis.call('ZADD', list, 0, place .. '\0' .. new .. string.sub(member, #place + 3))
  end
end

