-- KEYS: record, index by id, last use. ARGV: the record's field in the index, then the record's fields.
-- A record that is there stays. A tombstone in the index wins over the record that is written.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return { 'known', redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[3]) }
end
local buried = redis.call('HMGET', KEYS[2], 'revoked_at', 'revoked_by')
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('HSET', KEYS[2], ARGV[1], '')
if buried[1] then
  redis.call('HSET', KEYS[1], 'revoked_at', buried[1], 'revoked_by', buried[2] or '')
  return { 'revoked', {}, false }
end
local revoked = redis.call('HMGET', KEYS[1], 'revoked_at', 'revoked_by')
if revoked[1] then
  redis.call('HSET', KEYS[2], 'revoked_at', revoked[1], 'revoked_by', revoked[2] or '')
end
return { 'written', {}, false }
