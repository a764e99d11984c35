-- KEYS: errand, errands that are due. ARGV: state, when it is due, and a note where there is one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'due', ARGV[2])
if ARGV[3] then
  redis.call('HSET', KEYS[1], 'note', ARGV[3])
else
  redis.call('HDEL', KEYS[1], 'note')
end
if ARGV[1] == 'pending' then
  redis.call('ZADD', KEYS[2], ARGV[2], KEYS[1])
else
  redis.call('ZREM', KEYS[2], KEYS[1])
end
return 0
