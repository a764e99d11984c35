-- KEYS: record, index by id, last use, list of all, list of the user, numbers of good keys. ARGV: the key's
-- hash, its owner among those numbers, how many good keys the owner may have, its place, its mark in the list of
-- all and what is searched, then the record's fields. A record that is there stays. A tombstone wins over what is
-- written.
local record, index, usage, all, user, good = unpack(KEYS, 5, 10)
local key, owner, most, place, mark, searched = unpack(ARGV, 8, 13)
local ENDED = { 'revoked_at', 'revoked_by', 'revoked_who', 'revoked_why' }

local function copy_end(from, to)
  local values = redis.call('HMGET', from, unpack(ENDED))
  redis.call('HDEL', to, unpack(ENDED))
  for i, field in ipairs(ENDED) do
    if values[i] then
      redis.call('HSET', to, field, values[i])
    end
  end
end

if repeated() then
  local given = {}
  for i = 14, #ARGV, 2 do
    given[ARGV[i]] = true
  end
  local buried = redis.call('HEXISTS', record, 'revoked_at') == 1 and not given.revoked_at
  return answer(buried and 'revoked' or 'written')
end
if redis.call('EXISTS', record) == 1 then
  return answer('known', redis.call('HGETALL', record), redis.call('GET', usage))
end
if most ~= '' and tonumber(redis.call('HGET', good, owner) or '0') >= tonumber(most) then
  return answer('too many')
end
if stale() then
  return answer('stale')
end
append()
redis.call('HSET', record, unpack(ARGV, 14))
redis.call('HSET', index, key, '')
redis.call('ZADD', user, 0, place)
local buried = redis.call('HEXISTS', index, 'revoked_at') == 1
if buried then
  copy_end(index, record)
end
if redis.call('HEXISTS', record, 'revoked_at') == 1 then
  copy_end(record, index)
  mark = 'r'
else
  redis.call('HINCRBY', good, owner, 1)
end
redis.call('ZADD', all, 0, place .. '\0' .. mark .. searched)
return answer(buried and 'revoked' or 'written')
