-- KEYS: record, last use, days. ARGV: when, over what, day and replica, the replica's count of that day.
-- Forward only, and only for a key that is known.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local newest = string.match(redis.call('GET', KEYS[2]) or '', '^%d+')
if not newest or tonumber(newest) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
end
local count = redis.call('HGET', KEYS[3], ARGV[3])
if not count or tonumber(count) < tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
end
return 0
