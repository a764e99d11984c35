-- KEYS: record, index by id, last use, list of all, list of the user, numbers of good keys. ARGV: the key's
-- hash, its owner among those numbers, how many good keys the owner may have, the key's place, its place and
-- text, then the record's fields. A record that is there stays. A tombstone wins over what is written.
local record, index, usage, all, user, good = unpack(KEYS, 4, 9)
local key, owner, most, place, listed = unpack(ARGV, 7, 11)
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
  for i = 12, #ARGV, 2 do
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
redis.call('HSET', record, unpack(ARGV, 12))
redis.call('HSET', index, key, '')
redis.call('ZADD', all, 0, listed)
redis.call('ZADD', user, 0, place)
if redis.call('HEXISTS', index, 'revoked_at') == 1 then
  copy_end(index, record)
  return answer('revoked')
end
if redis.call('HEXISTS', record, 'revoked_at') == 1 then
  copy_end(record, index)
else
  redis.call('HINCRBY', good, owner, 1)
end
return answer('written')
